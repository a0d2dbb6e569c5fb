"""Render a dataset in a model's chat template and decide which tokens carry loss.

reads   dataset/{train,validation}.parquet (records); model/ (tokenizer and chat template)
writes  train.parquet, validation.parquet: id, input_ids, labels (-100: no loss), length;
        preview.html: some samples with the mask as colour; rejected.parquet: rows that can't
        be templated, with the reason; manifest.json

Loss lies on what the assistant says and on the token that ends its turn, nothing else. That
is checked on every row by decoding the trained tokens and comparing them with the messages.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sftflow.chat_templates import ChatTemplate, PrefixChanged, Refused, Rendered
from sftflow.conversations import template_messages, template_tools
from sftflow.lengths import binned
from sftflow.manifests import sha256_file, write_manifest, write_text
from sftflow.masks import mask_fault, tokenized, trained_count, trained_runs
from sftflow.modeltokenizers import load_tokenizer, tokenizer_digests
from sftflow.preview import Picked, preview_page
from sftflow.records import REJECTED, read_rows, write_table
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser
from sftflow.templatelimits import ROW_S, TooSlow, processor_time

BATCH_ROWS = 512
TEMPLATED = pa.schema(
    [
        ("id", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("length", pa.int32()),
    ]
)


def trained_turns(messages: list[dict], train_on: str) -> list[int]:
    """Return the positions of the assistant messages that carry loss (weight 0 means none)."""
    for message in messages:
        if message.get("weight") not in (None, 0, 1):
            raise Refused("weight", f"weight {message['weight']} of a message; only 0 and 1 work")
    turns = [k for k, m in enumerate(messages) if m["role"] == "assistant" and m.get("weight") != 0]
    if not turns:
        raise Refused("no_trained_turn", "no assistant message carries loss")
    return turns[-1:] if train_on == "last" else turns


def render_record(
    template: ChatTemplate, record: dict[str, Any], train_on: str
) -> list[tuple[str, Rendered]]:
    """Return (id, text with spans): one per record, or one per turn.

    One per turn where the template writes a turn otherwise once others follow it (thinking
    removed from earlier turns): each turn is then trained behind the text that it would see.
    """
    token = template.typed_control(record["messages"], record["tools"])
    if token:
        raise Refused("control_token_in_text", f"the text holds the control token {token}")
    turns = trained_turns(record["messages"], train_on)
    messages = template_messages(record["messages"])[: turns[-1] + 1]
    tools = template_tools(record["tools"])
    try:
        return [(record["id"], template.rendered(messages, tools, turns))]
    except PrefixChanged:
        pass
    try:
        return [
            (f"{record['id']}-{k}", template.rendered(messages[: k + 1], tools, [k])) for k in turns
        ]
    except PrefixChanged:
        raise Refused(
            "turn_not_located", "the chat template does not continue its own generation prompt"
        ) from None


class Templated:
    """The samples of one split, streamed, with counts of all that happened on the way."""

    def __init__(self, template: ChatTemplate, spec: dict[str, Any], split: str) -> None:
        """Template with ``spec``'s max_length, overlong and train_on."""
        self.template, self.spec, self.split = template, spec, split
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.rejected: list[dict[str, Any]] = []
        self.ends: Counter[str] = Counter()
        self.lengths: list[int] = []
        self.whole_lengths: Counter[int] = Counter()  # before anything is cut or dropped
        self.picked = Picked()

    def reject(self, record: dict[str, Any], reason: str, detail: str) -> None:
        """Note one record that leaves no sample."""
        self.reasons[reason] += 1
        self.rejected.append(
            {
                "source": record["source"],
                "row": record["row"],
                "stage": "template_data",
                "step": self.split,
                "reason": reason,
                "detail": detail,
                "raw": json.dumps(record["messages"], ensure_ascii=False),
            }
        )

    def samples(self, records: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
        """Yield {id, input_ids, labels, length} in the order of ``records``."""
        progress = Progress(max(total, 1), f"{self.split} rows")
        rows = iter(records)
        while batch := list(islice(rows, BATCH_ROWS)):
            for record, name, rendered, encoded in self._encoded(batch):
                sample = self._sample(record, name, rendered, *encoded)
                if sample is not None:
                    self.picked.add(sample)
                    yield sample
            progress.add(len(batch))

    def _encoded(self, batch: list[dict]) -> Iterator[tuple[dict, str, Rendered, tuple]]:
        """Tokenise a batch of records at once; adds no BOS, templates write their own."""
        rendered = list(self._rendered(batch))
        if not rendered:
            return
        tokenizer = self.template.tokenizer
        encoded = tokenizer(
            [r.text for _, _, r in rendered], add_special_tokens=False, return_offsets_mapping=True
        )
        whole = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        for (record, name, r), (ids, offsets) in zip(rendered, whole, strict=True):
            tokens = tokenized(tokenizer, r.text, r.spans, ids, offsets)
            if tokens is None:
                detail = "a token covers the prompt's end and the answer's beginning"
                self.reject(record, "token_over_edge", detail)
            else:
                yield record, name, r, tokens

    def _rendered(self, batch: Iterable[dict]) -> Iterator[tuple[dict, str, Rendered]]:
        for record in batch:
            self.counts["rows"] += 1
            try:
                with processor_time(ROW_S):
                    parts = render_record(self.template, record, self.spec["train_on"])
            except Refused as refused:
                self.reject(record, refused.reason, refused.detail)
                continue
            except TooSlow:
                raise StageError(
                    f"{record['source']}, row {record['row']}: the chat template of "
                    f"{self.template.name} did not end within {ROW_S} s; choose another template"
                ) from None
            self.counts["rows_split_by_turn"] += len(parts) > 1
            for name, rendered in parts:
                yield record, name, rendered

    def _sample(
        self, record: dict, name: str, r: Rendered, ids: list[int], labels: list[int]
    ) -> dict[str, Any] | None:
        """Check the mask against the messages, cut or drop, count."""
        template = self.template
        fault = mask_fault(template.tokenizer, template.control_text, labels, r.answers)
        if fault:
            self.reject(record, "mask_mismatch", fault)
            return None
        self.whole_lengths[len(ids)] += 1
        limit = self.spec["max_length"]
        turns = len(r.spans)
        if len(ids) > limit:
            self.counts["overlong"] += 1
            cut = labels[:limit]
            if self.spec["overlong"] == "drop" or trained_count(cut) == 0:
                what = "max_length" if self.spec["overlong"] == "drop" else "nothing left to train"
                self.reject(record, "overlong", f"{len(ids)} tokens, limit {limit} ({what})")
                return None
            ids, labels = ids[:limit], cut
            self.counts["truncated"] += 1
        ends = set(template.control.values())
        stops = [run[-1] for run in trained_runs(labels) if run[-1] in ends]
        self.ends.update(template.tokenizer.convert_ids_to_tokens(stops))
        self.counts.update(
            samples=1,
            tokens=len(ids),
            trained_tokens=trained_count(labels),
            turns=turns,
            trained_end_of_turn=len(stops),
        )
        self.lengths.append(len(ids))
        return {"id": name, "input_ids": ids, "labels": labels, "length": len(ids)}

    def summary(self) -> dict[str, Any]:
        """Return all counts; lengths are null where there is no sample."""
        names = ("rows", "samples", "overlong", "truncated", "rows_split_by_turn", "tokens")
        names += ("trained_tokens", "turns", "trained_end_of_turn")
        quantiles = {f"p{q}": None for q in (5, 50, 95, 99)} | {"min": None, "max": None}
        if self.lengths:
            known = np.array(self.lengths)
            values = np.percentile(known, (5, 50, 95, 99), method="nearest")
            quantiles = dict(zip(("p5", "p50", "p95", "p99"), map(int, values), strict=True))
            quantiles |= {"min": int(known.min()), "max": int(known.max())}
        return {
            **{name: self.counts[name] for name in names},
            "rejected": dict(sorted(self.reasons.items())),
            "end_of_turn": dict(sorted(self.ends.items())),
            "length": quantiles,
            "whole_length_bins": binned(self.whole_lengths),
        }


def model_limits(model: Path) -> tuple[int | None, int | None]:
    """Return the longest sequence and the number of embedding rows from config.json."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config = config.get("text_config", config)
    return config.get("max_position_embeddings"), config.get("vocab_size")


def check_limits(model: Path, tokenizer: Any, max_length: int) -> None:
    """Raise StageError if rows could be longer, or ids higher, than the model can take."""
    positions, vocabulary = model_limits(model)
    if positions is not None and max_length > positions:
        raise StageError(
            f"max_length {max_length} is more than {model.name}'s {positions} positions "
            "(max_position_embeddings); lower max_length"
        )
    if vocabulary is not None and len(tokenizer) > vocabulary:
        raise StageError(
            f"{model.name}: the tokenizer has {len(tokenizer)} tokens, the model embeds only "
            f"{vocabulary}; it is the tokenizer of another model"
        )


def write_split(
    template: ChatTemplate, spec: dict[str, Any], source: Path, target: Path
) -> Templated:
    """Template one split from ``source`` to ``target``; return what was counted."""
    work = Templated(template, spec, target.stem)
    total = pq.read_metadata(source).num_rows
    write_table(target, work.samples(read_rows(source), total), TEMPLATED)
    return work


def main(argv: list[str] | None = None) -> None:
    """Template both splits, then vouch for them."""
    names = ("dataset", "model", "train", "validation", "manifest", "preview")
    args = stage_parser(__doc__, *names).parse_args(argv)
    spec = args.spec
    tokenizer = load_tokenizer(args.model)
    check_limits(args.model, tokenizer, spec["max_length"])
    template = ChatTemplate(tokenizer, spec["base"])
    work = {
        split: write_split(template, spec, args.dataset / f"{split}.parquet", path)
        for split, path in (("train", args.train), ("validation", args.validation))
    }
    train = work["train"].summary()
    if not train["samples"]:
        raise StageError(
            f"none of the {train['rows']} training rows of {spec['dataset']} can be templated "
            f"for {spec['base']}: {train['rejected']}"
        )
    rejected = [row for split in work.values() for row in split.rejected]
    write_table(args.manifest.with_name("rejected.parquet"), rejected, REJECTED)
    write_text(
        args.preview, preview_page(spec["dataset"], spec["base"], tokenizer, work["train"].picked)
    )
    write_manifest(
        args.manifest,
        stage="template_data",
        spec=spec,
        payloads=[args.train, args.validation],
        inputs={split: args.dataset / f"{split}.parquet" for split in work},
        counts={split: done.summary() for split, done in work.items()},
        packages=("transformers", "tokenizers", "pyarrow"),
        dataset=spec["dataset"],
        tokenizer=args.model.name,
        end_of_turn={"text": template.end_of_turn, "id": template.control[template.end_of_turn]},
        rejected_sha256=sha256_file(args.manifest.with_name("rejected.parquet")),
        **tokenizer_digests(args.model, tokenizer),
    )
    say_counts(work)


def say_counts(work: dict[str, Templated]) -> None:
    """Show one line per split."""
    for split, done in work.items():
        n = done.summary()
        lost = ", ".join(f"{count} {reason}" for reason, count in n["rejected"].items())
        console().say(
            f"{split}: {n['samples']} samples of {n['rows']} rows, {n['tokens']} tokens, "
            f"{n['trained_tokens']} with loss" + (f"; rejected: {lost}" if lost else "")
        )


if __name__ == "__main__":
    run_stage(main)
