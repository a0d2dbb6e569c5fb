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
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sftflow.chat_templates import ChatTemplate, Refused
from sftflow.lengths import binned
from sftflow.manifests import sha256_file, write_manifest, write_text
from sftflow.masks import trained_count, trained_runs
from sftflow.modeltokenizers import load_tokenizer, tokenizer_digests
from sftflow.preview import Picked, preview_page
from sftflow.processortime import TooSlow, processor_time
from sftflow.records import REJECTED, read_rows, write_table
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser
from sftflow.templatedrows import Part, Sample, encoded, parts_of
from sftflow.templateguards import check_limits, check_served, leaves_out_reasoning, worth_a_look
from sftflow.templatelimits import ROW_S
from sftflow.tokenweights import WEIGHTS, has_weights

BATCH_ROWS = 512
LOOKED_AT = 64  # samples of a split whose prompts are rendered and tokenised a second time
ODD = ("reasoning_left_out",)  # counts that are told only if there is something to tell
TEMPLATED = pa.schema(
    [
        ("id", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("length", pa.int32()),
    ]
)


class Templated:
    """The samples of one split, streamed, with counts of all that happened on the way."""

    stage = "template_data"

    def __init__(
        self, template: ChatTemplate, spec: dict[str, Any], split: str, weighted: bool = False
    ) -> None:
        """Template as ``spec`` says; ``weighted`` samples have a loss weight for each token."""
        self.template, self.spec, self.split, self.weighted = template, spec, split, weighted
        self.reasoning = spec.get("reasoning", "train")
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
                "stage": self.stage,
                "step": self.split,
                "reason": reason,
                "detail": detail,
                "raw": self.raw(record),
            }
        )

    def raw(self, record: dict[str, Any]) -> str:
        """Return what a rejected record says."""
        return json.dumps(record["messages"], ensure_ascii=False)

    @staticmethod
    def schema(weighted: bool) -> pa.Schema:
        """Return the columns of the samples."""
        return TEMPLATED.append(WEIGHTS) if weighted else TEMPLATED

    @staticmethod
    def has_weights(rows: Path) -> bool:
        """Return whether the samples of a split have loss weights."""
        return has_weights(rows)

    def samples(self, records: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
        """Yield {id, input_ids, labels, length} in the order of ``records``."""
        progress = Progress(max(total, 1), f"{self.split} rows")
        rows = iter(records)
        while batch := list(islice(rows, BATCH_ROWS)):
            rendered = list(self._rendered(batch))
            made = encoded(self.template, [parts for _, parts in rendered], self.reasoning)
            for (record, _), (samples, parts) in zip(rendered, made, strict=True):
                for sample in self._kept(record, samples, parts):
                    self.picked.add(sample)
                    yield sample
            progress.add(len(batch))

    def _rendered(self, batch: Iterable[dict]) -> Iterator[tuple[dict, list[Part]]]:
        for record in batch:
            self.counts["rows"] += 1
            try:
                parts = self.parts(record, self.spec["train_on"])
            except Refused as refused:
                self.reject(record, refused.reason, refused.detail)
                continue
            yield record, parts

    def parts(self, record: dict[str, Any], train_on: str) -> list[Part]:
        """Return the texts of a record; raise Refused, or StageError for an endless template."""
        try:
            with processor_time(ROW_S):
                return parts_of(self.template, record, train_on, self.reasoning)
        except TooSlow:
            raise StageError(
                f"{record['source']}, row {record['row']}: the chat template of "
                f"{self.template.name} did not end within {ROW_S} s; choose another template"
            ) from None

    def _kept(
        self, record: dict, samples: list[Sample] | Refused, parts: Sequence[Part]
    ) -> Iterator[dict[str, Any]]:
        """Yield what a record leaves; reject it if that is nothing."""
        try:
            if isinstance(samples, Refused):
                raise samples
            if self.counts["samples"] < LOOKED_AT:
                check_served(self.template, samples, parts)
        except Refused as refused:
            self.reject(record, refused.reason, refused.detail)
            return
        self.counts["rows_split_by_turn"] += len(samples) > 1
        self.counts["reasoning_left_out"] += leaves_out_reasoning(self.template, parts)
        kept = [row for sample in samples if (row := self._cut(sample)) is not None]
        if not kept:
            longest = max(len(sample.ids) for sample in samples)
            limit = self.spec["max_length"]
            what = "max_length" if self.spec["overlong"] == "drop" else "nothing left to train"
            self.reject(record, "overlong", f"{longest} tokens, limit {limit} ({what})")
        yield from kept

    def _cut(self, sample: Sample) -> dict[str, Any] | None:
        """Cut or drop an overlong sample, and count what is left."""
        ids, labels, limit = sample.ids, sample.labels, self.spec["max_length"]
        self.whole_lengths[len(ids)] += 1
        if len(ids) > limit:
            self.counts["overlong"] += 1
            if self.spec["overlong"] == "drop" or trained_count(labels[:limit]) == 0:
                return None
            ids, labels = ids[:limit], labels[:limit]
            self.counts["truncated"] += 1
        template = self.template
        stops = [run[-1] for run in trained_runs(labels) if run[-1] in template.control_ids]
        self.ends.update(template.tokenizer.convert_ids_to_tokens(stops))
        self.counts.update(
            samples=1,
            tokens=len(ids),
            trained_tokens=trained_count(labels),
            turns=len(sample.answers),
            trained_end_of_turn=len(stops),
        )
        self.lengths.append(len(ids))
        row = {"id": sample.name, "input_ids": ids, "labels": labels, "length": len(ids)}
        return row | ({"loss_weights": sample.weights[: len(ids)]} if self.weighted else {})

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
            **{name: self.counts[name] for name in ODD if self.counts[name]},
            "rejected": dict(sorted(self.reasons.items())),
            "end_of_turn": dict(sorted(self.ends.items())),
            "length": quantiles,
            "whole_length_bins": binned(self.whole_lengths),
        }


def write_split(work: Templated, source: Path, target: Path) -> Templated:
    """Template one split from ``source`` to ``target``; return what was counted."""
    total = pq.read_metadata(source).num_rows
    write_table(target, work.samples(read_rows(source), total), work.schema(work.weighted))
    return work


def main(argv: list[str] | None = None, kind: type[Templated] = Templated) -> None:
    """Template both splits into samples of a ``kind``, then vouch for them."""
    names = ("dataset", "model", "train", "validation", "manifest", "preview")
    args = stage_parser(__doc__, *names).parse_args(argv)
    spec = args.spec
    tokenizer = load_tokenizer(args.model)
    check_limits(args.model, tokenizer, spec["max_length"])
    template = ChatTemplate(tokenizer, spec["base"])
    sources = {split: args.dataset / f"{split}.parquet" for split in ("train", "validation")}
    weighted = any(kind.has_weights(path) for path in sources.values())
    work = {
        split: write_split(kind(template, spec, split, weighted), sources[split], path)
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
        stage=kind.stage,
        spec=spec,
        payloads=[args.train, args.validation],
        inputs=sources,
        counts={split: done.summary() for split, done in work.items()},
        packages=("transformers", "tokenizers", "pyarrow"),
        dataset=spec["dataset"],
        tokenizer=args.model.name,
        end_of_turn={"text": template.end_of_turn, "id": template.control[template.end_of_turn]},
        rejected_sha256=sha256_file(args.manifest.with_name("rejected.parquet")),
        **tokenizer_digests(args.model, tokenizer),
    )
    say_counts(work, template.notes)


def say_counts(work: dict[str, Templated], notes: Sequence[str]) -> None:
    """Show one line per split, and what should be looked at."""
    for split, done in work.items():
        n = done.summary()
        lost = ", ".join(f"{count} {reason}" for reason, count in n["rejected"].items())
        console().say(
            f"{split}: {n['samples']} samples of {n['rows']} rows, {n['tokens']} tokens, "
            f"{n['trained_tokens']} with loss" + (f"; rejected: {lost}" if lost else "")
        )
        notes = [*notes, *worth_a_look(split, n)]
    for note in notes:
        console().say(f"look at this: {note}")


if __name__ == "__main__":
    run_stage(main)
