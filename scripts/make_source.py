"""Make a source by asking a generator, starting from the rows of another source or from prompts.

Reads:  --seeds: records.parquet of an ingested source, or a JSON Lines file of prompts; what was
        paid before, results/.cache/replies.sqlite; of a base that this workflow serves, its
        folder (--model) and the file of its server (--endpoint).
Writes: made.jsonl ({"messages": [...], "group", "tags", "made": {method, operation, parent,
        model, requests, prompt_tokens, completion_tokens}}; group is that of the parent, and
        where the task is the parent's own, so are the tags), rejected.parquet
        (records.REJECTED: every other generation with its reason), manifest.json and
        SHA256SUMS. rows_in = kept + rejected.
Stops:  if a request fails for good, before more is used than max_total_tokens or max_cost, or if
        nothing usable was made. What was paid is kept, so the next run goes on from there.

--limits has what bounds requests (how many at once, a minute, in all) and the name of the key's
variable: it can't change the rows, so it is no part of --spec.
"""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import closing
from math import inf
from pathlib import Path
from typing import Any

from sftflow.backends import RemoteAPI, ServedBase
from sftflow.devices import vllm_package
from sftflow.distilling import BestOfN
from sftflow.evolving import EvolInstruct
from sftflow.funnel import Tally, inspection_path, keep_for_inspection
from sftflow.generating import Generator
from sftflow.making import Outcome, Seed, seeds_of_prompts, seeds_of_source
from sftflow.manifests import SUMS, replacing, write_manifest
from sftflow.records import REJECTED, TableWriter, open_table
from sftflow.replycache import PLACE, ReplyCache
from sftflow.rewriting import Rewriting
from sftflow.selfinstruct import SelfInstruct
from sftflow.spending import Budget, Pace, cost
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser
from sftflow.unanswerable import Unanswerable

STAGE = "make_source"
logger = logging.getLogger("sftflow")
METHODS = {
    "self_instruct": SelfInstruct,
    "evol_instruct": EvolInstruct,
    "best_of_n": BestOfN,
    "rewrite": Rewriting,
    "refusals": Unanswerable,
}
SAME_TASK = ("best_of_n", "rewrite")  # what they make is about what the parent is about


def backend_of(args: Namespace, spec: dict[str, Any]) -> RemoteAPI | ServedBase:
    """Return who replies: the API at an address, or a base that this workflow serves."""
    tries = (args.limits["max_retries"], args.limits["timeout_s"])
    if args.endpoint is not None:
        return ServedBase(args.endpoint, args.model, spec["serve"], *tries)
    return RemoteAPI("make", spec["endpoint"]["base_url"], args.limits["api_key_env"], *tries)


def generator_of(
    backend: RemoteAPI | ServedBase, spec: dict[str, Any], limits: dict[str, Any], cache: ReplyCache
) -> Generator:
    """Return who is asked."""
    shared = {"temperature": spec["temperature"], "max_tokens": spec["max_tokens"]}
    return Generator(
        backend,
        cache,
        spec["endpoint"],
        shared | spec["request"],
        spec["seed"],
        pace=Pace(limits["requests_per_minute"], limits["tokens_per_minute"]),
        payer=spec["source"],
        budget=Budget(
            limits["max_total_tokens"],
            limits["max_cost"],
            spec["price_per_million"],
            cache.paid_by(spec["source"]),
        ),
        on_failure=spec["on_failure"],
    )


def made_row(outcome: Outcome, spec: dict[str, Any]) -> str:
    """Return a line of made.jsonl: a conversation with where it comes from."""
    made = {
        "method": spec["method"],
        "operation": outcome.operation,
        "parent": outcome.seed.id,
        "model": spec["endpoint"]["model"],
        "requests": [reply.digest for reply in outcome.replies],
        "prompt_tokens": sum(reply.prompt_tokens for reply in outcome.replies),
        "completion_tokens": sum(reply.completion_tokens for reply in outcome.replies),
    }
    tags = outcome.seed.tags if spec["method"] in SAME_TASK else None
    row = {"messages": outcome.messages, "group": outcome.seed.group, "tags": tags, "made": made}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"


def rejected_row(outcome: Outcome, spec: dict[str, Any]) -> dict[str, Any]:
    """Return a row of rejected.parquet: place of the seed, reason, and what was said."""
    said = [{"request": r.digest, "text": r.text} for r in outcome.replies]
    raw = {"messages": outcome.seed.messages, "operation": outcome.operation, "replies": said}
    return {
        "source": spec["source"],
        "file": outcome.seed.file,
        "row": outcome.seed.row,
        "stage": STAGE,
        "step": spec["method"],
        "reason": outcome.reason,
        "detail": outcome.detail,
        "raw": json.dumps(raw, ensure_ascii=False),
    }


def announced(spec: dict[str, Any], method: Any, seeds: Iterable[Seed]) -> int:
    """Say what the whole source may take; return the number of requests."""
    number = characters = 0
    for seed in seeds:
        number += 1
        characters += sum(len(m["content"]) for m in seed.messages)
    if not number:
        raise StageError(f"source {spec['source']}: make.from has no rows to start from")
    asked = method.requests(number)
    prompt = asked * (150 + characters // number // 4)  # our words, and theirs at 4 to a token
    completion = asked * spec["max_tokens"]
    paid = cost(spec["price_per_million"], prompt, completion)
    price = f", cost {paid:.2f}" if spec["price_per_million"] else ""
    console().say(
        f"{spec['source']}: about {asked:,} requests, {prompt:,} tokens of prompts and at most "
        f"{completion:,} of replies{price}, if none was paid before"
    )
    return asked


def make(args: Namespace, spec: dict[str, Any], tally: Tally) -> Generator:
    """Write every outcome to one of the two files; return who was asked."""
    method = METHODS[spec["method"]](spec)

    def read() -> Iterator[Seed]:
        known = args.seeds.suffix == ".parquet"
        return seeds_of_source(args.seeds) if known else seeds_of_prompts(args.seeds)

    progress = Progress(announced(spec, method, read()), "requests")
    with (
        closing(ReplyCache(PLACE)) as cache,
        open_table(args.rejected, REJECTED) as rejected,
        replacing(args.made) as part,
        part.open("w", encoding="utf-8", newline="\n") as made,
        backend_of(args, spec) as backend,  # ends first: then it is known that it lived through
    ):
        generator = generator_of(backend, spec, args.limits, cache)

        def missing() -> float:
            return inf if spec["rows"] is None else spec["rows"] - tally.kept

        found = method.outcomes(read, generator, args.limits["concurrency"], missing)
        for outcome in found:
            put(outcome, spec, made, rejected, tally, missing() <= 0)
            # The total is an estimate: at its end Progress would show each line.
            more = min(generator.used["requests"], progress.total - 1) - progress.done
            if more > 0:
                progress.add(more, f"{tally.kept} rows kept")
    return generator


def put(
    outcome: Outcome,
    spec: dict[str, Any],
    made: Any,
    rejected: TableWriter,
    tally: Tally,
    enough: bool,
) -> None:
    """Write one outcome to one of the two files, and count it."""
    tally.rows_in += 1
    if outcome.messages is not None and not enough:
        made.write(made_row(outcome, spec))
        tally.keep({"messages": outcome.messages}, outcome.operation)
        return
    if outcome.messages is not None:
        more = f"there were {spec['rows']} rows already"
        outcome = Outcome(
            outcome.seed, outcome.operation, outcome.replies, reason="surplus", detail=more
        )
    rejected.add(rejected_row(outcome, spec))
    place = f"{outcome.seed.file}:{outcome.seed.row}"
    tally.reject(outcome.reason, f"{place}: {outcome.detail}")


def used_tokens(generator: Generator, price: dict[str, float] | None) -> dict[str, Any]:
    """Return the requests and tokens of the replies used, and their cost if there is a price."""
    used = {key: generator.used[key] for key in ("requests", "prompt_tokens", "completion_tokens")}
    if price is None:
        return used
    paid = cost(price, used["prompt_tokens"], used["completion_tokens"])
    return {**used, "cost": round(paid, 6)}


def in_words(used: dict[str, Any]) -> str:
    """Return what was used as part of a sentence."""
    price = f", cost {used['cost']:.4g}" if "cost" in used else ""
    return f"{used['prompt_tokens']:,} + {used['completion_tokens']:,} tokens{price}"


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "seeds", "made", "rejected", "manifest")
    parser.add_argument("--limits", type=json.loads, required=True, help="bounds, JSON")
    parser.add_argument("--endpoint", type=Path, nargs="?", help="of a base served here")
    parser.add_argument("--model", type=Path, nargs="?", help="folder of that base")
    args = parser.parse_args(argv)
    spec, tally = args.spec, Tally()
    with keep_for_inspection(args.rejected):
        generator = make(args, spec, tally)
        if not tally.kept:
            reasons = "; ".join(
                f"{n} {reason} (e.g. {tally.examples[reason][0]})"
                for reason, n in tally.rejected.most_common(5)
            )
            raise StageError(
                f"source {spec['source']}: none of {tally.rows_in} generations can be used: "
                f"{reasons}; all of them: {inspection_path(args.rejected)}"
            )
    counts = tally.counts()
    used = used_tokens(generator, spec["price_per_million"])
    counts["operations"] = counts.pop("formats", {})
    write_manifest(
        args.manifest,
        stage=STAGE,
        spec=spec,
        payloads=[args.made],
        also=[args.rejected],
        inputs={"seeds": args.seeds, **({"model": args.model / SUMS} if args.model else {})},
        counts={**counts, **used},
        packages=["pyarrow", *([vllm_package()] if args.model else [])],
    )
    console().say(f"{spec['source']}: {tally.sentence()}")
    console().say(
        f"{spec['source']}: {in_words(used)} in {used['requests']:,} requests, "
        f"{generator.paid:,} of them paid now"
    )
    if spec["rows"] and tally.kept < spec["rows"]:
        console().say(
            f"{spec['source']}: fewer than the {spec['rows']} rows asked for could be made"
        )


if __name__ == "__main__":
    run_stage(main)
