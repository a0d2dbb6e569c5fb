"""Let a judge compare two models' answers to the same prompts, blind and in both orders.

reads   --answers: generations.jsonl of the two models of the spec, in its order; what was paid
        before, results/.cache/replies.sqlite; of a base that this workflow serves, its folder
        (--model) and the file of its server (--endpoint)
writes  verdicts.jsonl: {set, id, outcome, winner, messages, reference, answers, chars, asked}; a
        row per prompt that both models were given. ``outcome`` is judged, identical (a tie that
        nobody is asked about), unreadable (a reply without a verdict), no_reply, or unanswered
        (a model had no room to answer). ``winner`` is a model, tie or null. ``asked`` has, for
        the models in their order and the other way round, {verdict, reply, request}: verdict is
        first, second, tie or null
        win_rate.json: {judge, models, sets: {name: figures}, all: figures, ...}; winrates.py says
        what the figures are
stops   if a request fails for good (on_failure: stop), or before more is used than max_total_tokens
        or max_cost. What was paid is kept, so the next run goes on from there

--limits bounds requests and names the variable with the key: it can't change a verdict, so it is no
part of --spec.
"""

from __future__ import annotations

import hashlib
import json
import logging
from argparse import Namespace
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from sftflow.answers import read_jsonl
from sftflow.backends import RemoteAPI, ServedBase
from sftflow.generating import Generator, NoReply, in_order
from sftflow.jobs import project_path
from sftflow.judgeprompts import SHIPPED, judge_messages, read_template, read_verdict
from sftflow.manifests import write_json, write_text
from sftflow.prompttext import prompt_text
from sftflow.replycache import PLACE, ReplyCache
from sftflow.spending import Budget, Pace, cost
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser
from sftflow.winrates import figures, settled

logger = logging.getLogger("sftflow")
Row = dict[str, Any]


def both_answered(paths: Iterable[Path]) -> list[tuple[Row, Row]]:
    """Return two models' answers to each prompt that both were given, in the first's order."""
    one, other = ({(r["set"], str(r["id"])): r for r in read_jsonl(path)} for path in paths)
    return [(row, other[place]) for place, row in one.items() if place in other]


def chosen(pairs: Iterable[tuple[Row, Row]], most: int | None) -> list[tuple[Row, Row]]:
    """Return ``most`` pairs of each set, or all: those with the smallest digests of their ids."""
    sets: dict[str, list[tuple[Row, Row]]] = {}
    for pair in pairs:
        sets.setdefault(pair[0]["set"], []).append(pair)

    def place(pair: tuple[Row, Row]) -> str:
        return hashlib.sha256(f"judge {pair[0]['id']}".encode()).hexdigest()

    return [pair for some in sets.values() for pair in sorted(some, key=place)[:most]]


def verdict_row(judge: Generator, template: Any, spec: Row, pair: tuple[Row, Row]) -> Row:
    """Return a row of verdicts.jsonl; asks twice unless there is nothing to ask."""
    models, said = spec["models"], [row["answer"] for row in pair]
    one = pair[0]
    row = {key: one.get(key) for key in ("set", "id", "messages", "reference")}
    row |= {
        "answers": dict(zip(models, said, strict=True)),
        "chars": {m: len(text or "") for m, text in zip(models, said, strict=True)},
        "asked": [],
        "winner": None,
    }
    if None in said:
        return row | {"outcome": "unanswered"}
    if said[0].strip() == said[1].strip():
        return row | {"outcome": "identical", "winner": "tie"}
    reference = one.get("reference") if spec["show_reference"] else None
    for first, second in (said, reversed(said)):
        messages = judge_messages(template, prompt_text(one), first, second, reference)
        try:
            reply = judge.ask(messages)
        except NoReply as error:
            return row | {"outcome": "no_reply", "detail": str(error)}
        verdict = read_verdict(reply.text)
        row["asked"].append({"verdict": verdict, "reply": reply.text, "request": reply.digest})
    winner = settled([asked["verdict"] for asked in row["asked"]], models)
    return row | {"outcome": "unreadable" if winner is None else "judged", "winner": winner}


def judge_of(
    spec: Row, limits: Row, cache: ReplyCache, backend: RemoteAPI | ServedBase
) -> Generator:
    """Return who is asked."""
    who = f"judge {spec['judge']}"
    paid = cache.paid_by(who)
    return Generator(
        backend,
        cache,
        spec["endpoint"],
        {key: spec[key] for key in ("temperature", "max_tokens")} | spec["request"],
        spec["seed"],
        payer=who,
        pace=Pace(limits["requests_per_minute"], limits["tokens_per_minute"]),
        budget=Budget(
            limits["max_total_tokens"], limits["max_cost"], spec["price_per_million"], paid, who
        ),
        on_failure=spec["on_failure"],
        who=who,
    )


def backend_of(args: Namespace) -> RemoteAPI | ServedBase:
    """Return who replies: the API at an address, or a base that this workflow serves."""
    spec, limits = args.spec, args.limits
    tries = (limits["max_retries"], limits["timeout_s"])
    if args.endpoint is not None:
        return ServedBase(args.endpoint, args.model, spec["serve"], *tries)
    who = f"judge {spec['judge']}"
    return RemoteAPI(who, spec["endpoint"]["base_url"], limits["api_key_env"], *tries)


def judged(args: Namespace, pairs: list[tuple[Row, Row]]) -> tuple[list[Row], Generator]:
    """Return the rows of verdicts.jsonl in the order of the pairs, and who was asked."""
    spec = args.spec
    template = read_template(project_path(spec["prompt"]) if spec["prompt"] else SHIPPED)
    progress, rows = Progress(len(pairs), "pairs"), []
    with closing(ReplyCache(PLACE)) as cache, backend_of(args) as backend:
        judge = judge_of(spec, args.limits, cache, backend)
        work = partial(verdict_row, judge, template, spec)
        found = in_order(pairs, work, args.limits["concurrency"], lambda: inf, judge.stop)
        for row in found:
            rows.append(row)
            progress.add()
    return rows, judge


def result_of(spec: Row, rows: list[Row], judge: Generator) -> Row:
    """Return win_rate.json."""
    models = spec["models"]
    sets = dict.fromkeys(row["set"] for row in rows)
    used = {key: judge.used[key] for key in ("requests", "prompt_tokens", "completion_tokens")}
    if spec["price_per_million"]:
        tokens = (used["prompt_tokens"], used["completion_tokens"])
        used["cost"] = round(cost(spec["price_per_million"], *tokens), 6)
    return {
        "judge": spec["judge"],
        "judge_model": spec["endpoint"]["model"],
        "models": models,
        "judges_itself": judge.backend.identity.startswith("served:")
        and spec["endpoint"]["model"] in models,
        "sets": {name: figures([r for r in rows if r["set"] == name], models) for name in sets},
        "all": figures(rows, models),
        "used": used,
    }


def sentence(result: Row) -> str:
    """Return what came out, for the console."""
    one, other = result["models"]
    said, shares = result["all"], result["all"]["win_rate"]
    if shares["value"] is None:
        return f"{one} against {other}: no verdict on {said['rows']} pairs could be used"
    same = said["position"]["consistent"]
    agreed = f", both orders agreed on {same['value']:.0%} of {same['n']}" if same["n"] else ""
    return (
        f"{one} against {other}: win rate {shares['value']:.1%} "
        f"[{shares['low']:.1%}, {shares['high']:.1%}] of {said['n']} pairs "
        f"({said['identical']} equal answers, {said['unreadable']} unreadable){agreed}"
    )


def main(argv: list[str]) -> None:
    """Read both models' answers, ask, write."""
    parser = stage_parser(__doc__, "verdicts", "result")
    parser.add_argument("--answers", type=Path, nargs=2, required=True, help="of the two models")
    parser.add_argument("--limits", type=json.loads, required=True, help="bounds, JSON")
    parser.add_argument("--endpoint", type=Path, nargs="?", help="of a base served here")
    parser.add_argument("--model", type=Path, nargs="?", help="folder of that base")
    args = parser.parse_args(argv)
    pairs = chosen(both_answered(args.answers), args.spec["rows"])
    if not pairs:
        names = " and ".join(args.spec["models"])
        raise StageError(f"judge {args.spec['judge']}: {names} were not given the same prompts")
    rows, judge = judged(args, pairs)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(args.verdicts, text)
    result = result_of(args.spec, rows, judge)
    write_json(args.result, result)
    console().say(sentence(result))
    logger.info("%d of %d requests paid now", judge.paid, judge.used["requests"])


if __name__ == "__main__":
    run_stage(main)
