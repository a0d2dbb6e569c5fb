"""The page's tables of the forms in which a run is served: merged, as an adapter, quantised.

A run has a table if at least two of its forms were measured: what each answers, how fast, on how
much memory and disk. A form is told by ``form`` of its model in the spec; without it, it is merged.
Each further form is held against the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sftflow.comparison import Pairs
from sftflow.direction import direction
from sftflow.pairedsection import Said, pairs_of
from sftflow.summary import Measurement
from sftflow.verdicts import by_model

MERGED = "merged"
#: Of the group latency: metric, what the page calls it.
FITTED = (("fit.b_ms", "b (ms)"), ("fit.k_ms_per_token", "k (ms per token)"))
SERVER = (
    ("server.start_s", "start of the server (s)"),
    ("server.peak_rss_mib", "memory of the server (MiB)"),
    ("server.gpu_memory_mib", "GPU memory (MiB)"),
    ("server.kv_cache_tokens", "room for tokens at once"),
)

Known = Mapping[str, Mapping[str, Any]]  # folder below results -> manifest
Row = dict[str, Any]  # name, values: a measurement or None per form, paired: of the further ones


def form_tables(
    models: Sequence[Mapping[str, Any]],
    summary: Sequence[Measurement],
    against: Mapping[tuple[str, str], Said],
    known: Known,
) -> list[dict[str, Any]]:
    """Return the table of each run of which several forms were measured."""
    rows = by_model(summary)
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for model in models:
        if model["kind"] == "tuned" and model["name"] in rows:
            runs.setdefault(model["run"], []).append(model)
    return [
        _table(run, forms, rows, against, known) for run, forms in runs.items() if len(forms) > 1
    ]


def _table(
    run: str,
    forms: Sequence[Mapping[str, Any]],
    rows: Mapping[str, Sequence[Measurement]],
    against: Mapping[tuple[str, str], Said],
    known: Known,
) -> dict[str, Any]:
    names = [form["name"] for form in forms]
    measured = {name: {(m.group, m.metric): m for m in rows[name]} for name in names}
    titles = [form.get("form", MERGED) for form in forms]
    said = [against.get((name, names[0])) for name in names[1:]]
    return {
        "run": run,
        "models": names,
        "forms": titles,
        "answers": [
            (title, name, one["identical"], one["n"])
            for title, other in zip(titles[1:], said, strict=True)
            for name, one in (other["answers"].items() if other else ())
        ],
        "groups": [
            ("What it answers", list(_quality(measured, [pairs_of(one) for one in said]))),
            ("How fast", list(_speed(measured))),
            ("What it takes", [*_of_latency(measured, SERVER), *_weights(forms, known)]),
        ],
    }


def _row(name: str, values: Sequence[Any], paired: Sequence[Any] = ()) -> Row:
    return {"name": name, "values": values, "paired": paired or [None] * (len(values) - 1)}


def _quality(
    measured: Mapping[str, Mapping[tuple[str, str], Measurement]], paired: Sequence[Pairs]
) -> Iterator[Row]:
    """Yield what is better or worse of answers, benchmarks and held-out loss."""
    places = dict.fromkeys(place for one in measured.values() for place in one)
    for group, metric in places:
        values = [one.get((group, metric)) for one in measured.values()]
        told = any(m is not None and m.value is not None for m in values)
        if told and group != "latency" and direction(group, metric):
            differences = [pairs.get((group, metric)) for pairs in paired]
            yield _row(f"{metric} ({group})", values, differences)


def _of_latency(
    measured: Mapping[str, Mapping[tuple[str, str], Measurement]],
    wanted: Sequence[tuple[str, str]],
) -> Iterator[Row]:
    for metric, name in wanted:
        values = [one.get(("latency", metric)) for one in measured.values()]
        if any(m is not None and m.value is not None for m in values):
            yield _row(name, values)


def _speed(measured: Mapping[str, Mapping[tuple[str, str], Measurement]]) -> Iterator[Row]:
    """Yield the fit, and medians and tokens per second of each cell and rate."""
    yield from _of_latency(measured, FITTED)
    first = next(iter(measured.values()))
    for kind, name in (
        ("ttft_ms.p50", "first token (ms, median)"),
        ("tpot_ms.p50", "further token (ms, median)"),
        ("tokens_per_s", "tokens/s"),
    ):
        places = [m for group, m in first if group == "latency" and m.startswith(f"{kind}[")]
        wanted = [(metric, f"{name} {metric[len(kind) :]}") for metric in places]
        yield from _of_latency(measured, wanted)


def _weights(forms: Sequence[Mapping[str, Any]], known: Known) -> Iterator[Row]:
    """Yield the bytes of the weights that each form adds to what is there of its start model."""
    sizes = []
    for form in forms:
        folder = (
            "runs/" + form["run"] if form.get("form") == "adapter" else "models/" + form["name"]
        )
        outputs = known.get(folder, {}).get("outputs", {})
        sizes.append(
            sum(said["bytes"] for name, said in outputs.items() if name.endswith(".safetensors"))
        )
    if all(sizes):
        values = [
            Measurement(form["name"], "tuned", "disk", "mib", size / 2**20)
            for form, size in zip(forms, sizes, strict=True)
        ]
        yield _row("weights on disk (MiB)", values)
