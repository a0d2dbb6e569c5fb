"""What the evaluation stages left about one model, as rows of the summary.

reads   results/eval/{model}/scores.json, benchmark/{suite}.json, latency.json, loss.json;
        latency_requests.parquet where there are limits for goodput;
        results/runs/{model}/preferences.json of a model that was trained on preference pairs
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.goodput import model_goodput
from sftflow.stage import StageError
from sftflow.summary import Measurement

QUANTILES = ("p50", "p95", "p99")
TIMES = ("ttft_ms", "tpot_ms", "e2e_ms")
SERVER = ("start_s", "peak_rss_mib", "gpu_memory_mib", "kv_cache_tokens")

Figures = Iterator[tuple[str, Mapping[str, Any]]]  # metric, {value, stderr, n}


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object; raise StageError naming the file if it is not one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StageError(f"{path} can't be read as JSON ({error}); delete it and rerun") from None
    if not isinstance(value, dict):
        raise StageError(f"{path} is not a JSON object; delete it and rerun")
    return value


def measurements(
    results: Path, model: Mapping[str, Any], slo: Mapping[str, Any]
) -> list[Measurement]:
    """Return every figure that is there about a model of the spec; ``slo`` as in goodput.py."""
    folder = results / "eval" / model["name"]
    parts = [("scores", folder / "scores.json", score_figures)]
    parts += [
        (suite, folder / "benchmark" / f"{suite}.json", benchmark_figures)
        for suite in model["suites"]
    ]
    parts += [("latency", folder / "latency.json", latency_figures)]
    parts += [("latency", folder / "latency.json", lambda said: goodput_figures(folder, said, slo))]
    parts += [("loss", folder / "loss.json", loss_figures)]
    parts += [("memorisation", folder / "loss.json", memorisation_figures)]
    if model.get("preferences"):
        path = results / "runs" / model["run"] / "preferences.json"
        parts += [("preferences", path, preference_figures)]
    rows = []
    for group, path, figures in parts:
        if not path.exists():
            continue
        read = read_object(path)
        try:
            for metric, said in figures(read):
                rows.append(_row(model, group, metric, said))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise StageError(
                f"{path} does not have the shape that its stage writes "
                f"({type(error).__name__}: {error}); delete it and rerun"
            ) from None
    return rows


def asked(model: Mapping[str, Any]) -> list[Measurement]:
    """Return a row per group of a model that the spec asks for (see summary.with_gaps)."""
    groups = [("scores", f"{name}.") for name in model.get("datasets", [])] or [("scores", "")]
    groups += [(suite, "") for suite in model["suites"]]
    groups += [("latency", ""), ("loss", "text.")]
    groups += [("preferences", "")] if model.get("preferences") else []
    return [Measurement(model["name"], model["kind"], *group, None) for group in groups]


def score_figures(scores: Mapping[str, Any]) -> Figures:
    """Yield ``{set}.{metric}`` of scores.json."""
    return _nested(scores["sets"])


def benchmark_figures(benchmark: Mapping[str, Any]) -> Figures:
    """Yield ``{task}.{metric}`` of a suite, ``{task}.{metric}[{filter}]`` where it has filters."""
    return _nested(benchmark["tasks"])


def _nested(groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Figures:
    for name, metrics in groups.items():
        for metric, said in metrics.items():
            yield f"{name}.{metric}", said


def latency_figures(latency: Mapping[str, Any]) -> Figures:
    """Yield quantiles and throughput of each cell and rate, the fit, and what the server takes."""
    for cell in latency["cells"]:
        yield from _times(cell, TIMES, cell_name(cell))
    for rate in latency["rates"]:
        place = rate_name(rate)
        yield from _times(rate, (*TIMES, "itl_ms"), place)
        yield f"requests_per_s[{place}]", {"value": rate["requests_per_s"], "n": rate["requests"]}
    for number, fit in enumerate(sorted(latency["fits"], key=lambda f: f["concurrency"])):
        # The plain name is the fit at the lowest concurrency, as a rule one at a time.
        place = f"[c{fit['concurrency']}]" if number else ""
        for name, said in fit_terms(fit).items():
            yield f"fit.{name}{place}", said

    for name in SERVER:
        if latency["footprint"][name] is not None:
            yield f"server.{name}", {"value": latency["footprint"][name]}


def _times(figures: Mapping[str, Any], times: Sequence[str], place: str) -> Figures:
    for time in times:
        for quantile in QUANTILES:
            value = figures[time][quantile]
            yield f"{time}.{quantile}[{place}]", {"value": value, "n": figures["requests"]}
    yield f"tokens_per_s[{place}]", {"value": figures["tokens_per_s"], "n": figures["requests"]}


def goodput_figures(folder: Path, latency: Mapping[str, Any], slo: Mapping[str, Any]) -> Figures:
    """Yield the share of good requests and good requests per second of each cell and rate."""
    found = model_goodput(folder, latency, slo)
    if found is None:
        return
    places = [cell_name(cell) for cell in latency["cells"]]
    places += [rate_name(rate) for rate in latency["rates"]]
    for place, one in zip(places, [*found["cells"], *found["rates"]], strict=True):
        yield (
            f"slo_attainment[{place}]",
            {k: one[k] for k in ("stderr", "n")} | {"value": one["share"]},
        )
        yield f"goodput_per_s[{place}]", {"value": one["requests_per_s"], "n": one["n"]}
    if latency["rates"]:
        yield "goodput.highest_rate_per_s", {"value": found["highest_rate_per_s"]}


def preference_figures(measured: Mapping[str, Any]) -> Figures:
    """Yield the rewards of a training on pairs, on validation pairs; margins are in nats."""
    yield from ((name, said) for name, said in measured.items() if name != "pairs")


def fit_terms(fit: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return b and k of ``e2e = b + k x`` and c of ``ttft = a + c p``, each with its n."""
    answer, first = fit["answer"], fit["first_token"]
    terms = {name: {**answer[name], "n": answer["n"]} for name in ("b_ms", "k_ms_per_token")}
    terms["ttft_ms_per_prompt_token"] = {**first["c_ms_per_token"], "n": first["n"]}
    return terms


def cell_name(cell: Mapping[str, Any]) -> str:
    """Return ``p128,o64,c1``: prompt tokens, output tokens, requests at once."""
    return f"p{cell['prompt_tokens']},o{cell['output_tokens']},c{cell['concurrency']}"


def rate_name(rate: Mapping[str, Any]) -> str:
    """Return ``r2.5``: requests per second."""
    return f"r{rate['rate_per_s']:g}"


def loss_figures(losses: Mapping[str, Any]) -> Figures:
    """Yield ``validation.{key}``, ``train.{key}``, ``text.{name}``: mean loss per token in nats.

    ``gap.{key}`` is how far validation rows lie above training rows; other rows, so their errors
    are independent.
    """
    yield from losses["losses"].items()
    for key in losses["recitation"]:
        held, mine = (losses["losses"][f"{side}.{key}"] for side in ("validation", "train"))
        known = held["value"] is not None and mine["value"] is not None
        errors = known and held["stderr"] is not None and mine["stderr"] is not None
        yield (
            f"gap.{key}",
            {
                "value": held["value"] - mine["value"] if known else None,
                "stderr": math.hypot(held["stderr"], mine["stderr"]) if errors else None,
            },
        )


def memorisation_figures(losses: Mapping[str, Any]) -> Figures:
    """Yield the share of answers recited and the tokens before a difference, per side and key."""
    for key, told in losses["recitation"].items():
        for side in ("train", "validation"):
            for metric in ("exact", "prefix_tokens"):
                yield f"{side}_{metric}.{key}", told[side][metric]


def _row(model: Mapping[str, Any], group: str, metric: str, said: Mapping[str, Any]) -> Measurement:
    n = said.get("n")
    return Measurement(
        model["name"],
        model["kind"],
        group,
        metric,
        number(said["value"]),
        number(said.get("stderr")),
        None if n is None else int(n),
    )


def number(value: Any) -> float | None:
    """Return a finite float; None for null and NaN; raise TypeError for what is no number."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value) if math.isfinite(value) else None
