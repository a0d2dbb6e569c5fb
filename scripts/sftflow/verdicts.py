"""The first screen: is the tuned model better than its start model, where worse, how fast."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

from sftflow.comparison import Comparison, Pairs, compare, headline, tally
from sftflow.figures import figure, signed
from sftflow.summary import Measurement

#: Losses that are named one by one on the first screen; the table has the rest.
MOST_WORSE = 5
MOST_TILES = 3

Rows = Sequence[Measurement]


def by_model(summary: Rows) -> dict[str, list[Measurement]]:
    """Return the summary's rows per model, in the order they stand."""
    rows: dict[str, list[Measurement]] = {}
    for row in summary:
        rows.setdefault(row.model, []).append(row)
    return rows


def comparisons(
    summary: Rows,
    models: Sequence[Mapping[str, Any]],
    paired: Mapping[str, Pairs] | None = None,
) -> dict[str, list[Comparison]]:
    """Return, per tuned model, each measure beside that of the model it starts from.

    ``paired`` has the differences of those models that were compared with it row by row.
    """
    rows, known = by_model(summary), paired or {}
    return {
        m["name"]: compare(rows.get(m["base"], []), rows.get(m["name"], []), known.get(m["name"]))
        for m in models
        if m["kind"] == "tuned"
    }


def verdict(
    model: str,
    base: str,
    compared: Sequence[Comparison],
    wanted: str | None,
    latencies: Mapping[str, Mapping[str, Any]],
    told: Container[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the first screen of one tuned model; ``told`` are measures that it names elsewhere."""
    counts = tally(compared)
    return {
        "model": model,
        "sentence": sentence(model, base, counts),
        "remark": remark(counts),
        "tiles": quality_tiles(base, compared, wanted) + speed_tiles(model, base, latencies),
        "findings": findings(compared, told),
    }


def sentence(model: str, base: str, counts: Mapping[str, int]) -> str:
    """Return the verdict in one sentence."""
    better, worse = counts["better"], counts["worse"]
    judged = better + worse + counts["same"]
    if not judged:
        return f"{model} could not be compared with {base}."
    of = f"all {judged}" if judged in (better, worse) else f"{better or worse} of {judged}"
    if better and worse:
        return f"{model} is better than {base} on {of} measures, worse on {worse}."
    if better or worse:
        way, other = ("better", "worse") if better else ("worse", "better")
        rest = "" if of.startswith("all") else f" and {other} on none"
        return f"{model} is {way} than {base} on {of} measures{rest}."
    return f"{model} does not differ from {base} on any of {judged} measures."


def remark(counts: Mapping[str, int]) -> str:
    """Return what the counts of the sentence leave out."""
    told = counts["better"] + counts["worse"]
    parts = [f"{counts['same']} within noise"] if counts["same"] and told else []
    if counts["unsure"]:
        parts.append(f"{counts['unsure']} without a known error (not counted)")
    if counts["missing"]:
        parts.append(f"{counts['missing']} not measured on both")
    rest = f" {'The rest' if told else 'Besides'}: {', '.join(parts)}." if parts else ""
    return f"A difference counts when it is beyond what chance would make of it.{rest}"


def quality_tiles(
    base: str, compared: Sequence[Comparison], wanted: str | None
) -> list[dict[str, Any]]:
    """Return a few tiles: the headline, the clearest loss, forgetting, then other gains."""
    first = headline(compared, wanted)
    worst = max(
        (c for c in compared if c.verdict == "worse"), key=lambda c: c.errors_apart, default=None
    )
    text = next((c for c in compared if c.group == "loss" and c.metric.startswith("text.")), None)
    better = [c for c in compared if c.verdict == "better"]
    elsewhere = [c for c in better if first is None or c.group != first.group]
    chosen = dict.fromkeys(c for c in (first, worst, text, *elsewhere, *better) if c is not None)
    known = [c for c in chosen if c.tuned and c.tuned.value is not None]
    return [_quality_tile(base, c) for c in known[:MOST_TILES]]


def measure_name(c: Comparison | Measurement) -> str:
    """Return a measure's name for a reader: ``tickets.exact_match (scores)``.

    The digest that a key of tokens ends in stands in the tables only.
    """
    if c.group == "loss":
        kind, _, name = c.metric.partition(".")
        if kind == "text":
            return f"Loss on {name} text"
        return f"Loss on {kind} rows ({name.rpartition('.')[0] or name})"
    return f"{c.metric} ({c.group})"


def _quality_tile(base: str, c: Comparison) -> dict[str, Any]:
    before = "not measured" if c.base is None or c.base.value is None else figure(c.base.value)
    return {
        "label": measure_name(c),
        "value": c.tuned.value,
        "unit": "",
        "before": f"{base}: {before}",
        "verdict": c.verdict,
    }


def speed_tiles(
    model: str, base: str, latencies: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return two tiles: the first token of a middling prompt, and each further one."""
    if model not in latencies:
        return []
    cell = middling_cell(latencies[model]["cells"])
    key = tuple(cell[name] for name in ("prompt_tokens", "output_tokens", "concurrency"))
    prompt, at_once = f"{key[0]:,} tokens of prompt", key[2]
    load = "" if at_once == 1 else f", {at_once} requests at once"
    return [
        _speed_tile(f"First token, {prompt}{load}", model, base, latencies, key, "ttft_ms"),
        _speed_tile(f"Each further token{load}", model, base, latencies, key, "tpot_ms"),
    ]


def middling_cell(cells: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the cell of the lowest concurrency, middle prompt and longest answer."""
    alone = min(c["concurrency"] for c in cells)
    prompts = sorted({c["prompt_tokens"] for c in cells})
    middle = prompts[(len(prompts) - 1) // 2]
    some = [c for c in cells if c["concurrency"] == alone and c["prompt_tokens"] == middle]
    return max(some, key=lambda c: c["output_tokens"])


def _speed_tile(
    label: str, model: str, base: str, latencies: Mapping, key: tuple[int, ...], time: str
) -> dict[str, Any]:
    def median(name: str) -> float | None:
        for c in latencies.get(name, {"cells": []})["cells"]:
            if (c["prompt_tokens"], c["output_tokens"], c["concurrency"]) == key:
                return c[time]["p50"]
        return None

    other = median(base)
    before = "not measured" if other is None else f"{figure(other)} ms"
    return {
        "label": label,
        "value": median(model),
        "unit": "ms",
        "before": f"{base}: {before}",
        "verdict": "plain",
    }


def _latency(rows: Rows, metric: str) -> float | None:
    return next((m.value for m in rows if m.group == "latency" and m.metric == metric), None)


def findings(
    compared: Sequence[Comparison], told: Container[tuple[str, str]] = ()
) -> list[dict[str, str]]:
    """Say where the tuned model is worse, and what could not be judged."""
    lost = sorted((c for c in compared if c.verdict == "worse"), key=lambda c: -c.errors_apart)
    worse = [c for c in lost if (c.group, c.metric) not in told]
    said = [_finding(c) for c in worse[:MOST_WORSE]]
    if len(worse) > MOST_WORSE:
        more = len(worse) - MOST_WORSE
        said.append({"verdict": "worse", "text": f"and worse on {more} more, in the table below."})
    if not lost and any(c.verdict in ("better", "same") for c in compared):
        said.append({"verdict": "", "text": "Worse on no measure whose error is known."})
    unsure = [measure_name(c) for c in compared if c.verdict == "unsure"]
    if unsure:
        names = ", ".join(unsure[:MOST_WORSE]) + (" ..." if len(unsure) > MOST_WORSE else "")
        said.append({"verdict": "", "text": f"Differs, error unknown: {names}."})
    return said


def _finding(c: Comparison) -> dict[str, str]:
    apart = "" if math.isinf(c.errors_apart) else f", {c.errors_apart:.1f} standard errors"
    text = (
        f"Worse: {measure_name(c)} went from {figure(c.base.value)} to {figure(c.tuned.value)}"
        f" ({signed(c.difference)}{apart})."
    )
    return {"verdict": "worse", "text": text}


def overview(
    models: Sequence[Mapping[str, Any]],
    compared: Mapping[str, Sequence[Comparison]],
    summary: Rows,
    wanted: str | None,
) -> tuple[list[dict[str, Any]], str]:
    """Return one line per model for the table of all models, and the headline's name."""
    first = next((h for h in (headline(c, wanted) for c in compared.values()) if h), None)
    key = (first.group, first.metric) if first else None
    rows = by_model(summary)
    lines = []
    for m in models:
        mine = rows.get(m["name"], [])
        counts = tally(compared.get(m["name"], []))
        lines.append(
            {
                "model": m["name"],
                "base": m["base"],
                "headline": next((r for r in mine if (r.group, r.metric) == key), None),
                "better": counts["better"],
                "worse": counts["worse"],
                "b": _latency(mine, "fit.b_ms"),
                "k": _latency(mine, "fit.k_ms_per_token"),
            }
        )
    return lines, measure_name(first) if first else "Headline"


def ranking(compared: Mapping[str, Sequence[Comparison]], wanted: str | None) -> list[str]:
    """Return the tuned models, best headline first; those without one come last."""

    def place(model: str) -> float:
        first = headline(compared[model], wanted)
        return math.inf if first is None else -(first.direction or 1) * first.tuned.value

    return sorted(compared, key=place)
