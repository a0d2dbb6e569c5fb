"""Where the figures come from: rows in and out per dataset, runs, versions and digests.

All of it is read from the manifests that the stages left under results/.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from posixpath import normpath
from typing import Any

from sftflow.figures import plain
from sftflow.manifests import read_manifest
from sftflow.measured import read_object
from sftflow.stage import StageError

Manifests = Mapping[str, Mapping[str, Any]]  # folder under results -> manifest

RUN_FILES = ("history.csv", "verdicts.json")
#: history.csv's columns and what the page calls them.
CURVES = {"loss": "training", "eval_loss": "validation"}


def folders(spec: Mapping[str, Any]) -> list[str]:
    """Return every folder whose manifest the page shows, in the order of the chain."""
    sources = [source for d in spec["datasets"].values() for source in d["sources"]]
    names = [f"sources/{source}" for source in dict.fromkeys(sources)]
    for name in spec["datasets"]:
        names += [f"datasets/{name}/cleaned", f"datasets/{name}"]
    keys = [key for model in spec["models"] for key in model["templated"]]
    names += [f"templated/{key}" for key in dict.fromkeys(keys)]
    names += [f"runs/{run}" for run in spec["runs"]]
    return names + [f"models/{m['name']}" for m in spec["models"] if m.get("form") != "adapter"]


def manifests(results: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the manifest of each folder that has one."""
    found = {}
    for name in names:
        path = results / name / "manifest.json"
        if path.exists():
            try:
                found[name] = read_manifest(path)
            except ValueError as error:
                raise StageError(str(error)) from None
    return found


def absent(results: Path, spec: Mapping[str, Any]) -> list[str]:
    """Return the files that the config asks for and that are not there."""
    wanted = [f"{name}/manifest.json" for name in folders(spec)]
    wanted += [f"datasets/{dataset}/portrait.json" for dataset in spec["datasets"]]
    wanted += [f"runs/{run}/{name}" for run in spec["runs"] for name in RUN_FILES]
    for model in spec["models"]:
        place = f"eval/{model['name']}"
        wanted += [f"{place}/{name}" for name in ("latency.json", "generations.jsonl")]
        wanted += [f"{place}/{name}" for name in ("scores.json", "loss.json")]
        wanted += [f"{place}/benchmark/{suite}.json" for suite in model["suites"]]
    wanted += [f"eval/{model}/against/{other}.json" for model, other in spec["comparisons"]]
    wanted += ["gates.json"] if spec["gates"] else []
    return [path for path in wanted if not (results / path).exists()]


def funnels(spec: Mapping[str, Any], known: Manifests) -> list[dict[str, Any]]:
    """Return, per dataset, the rows after each stage and each loss with its reason."""
    keys = list(dict.fromkeys(key for model in spec["models"] for key in model["templated"]))
    return [funnel(name, d["sources"], keys, known) for name, d in spec["datasets"].items()]


def funnel(
    name: str, sources: Sequence[str], keys: Sequence[str], known: Manifests
) -> dict[str, Any]:
    """Return one dataset's way from raw rows to samples; what is not there yet is left out."""
    read = {s: _counts(known, f"sources/{s}") for s in sources}
    cleaned = _counts(known, f"datasets/{name}/cleaned")
    split = _counts(known, f"datasets/{name}")
    steps: list[tuple[str, int]] = []
    losses: list[tuple[str, str, int]] = []
    notes: list[tuple[str, str]] = []
    raw = None
    if all(read.values()):
        raw = sum(c["rows_in"] for c in read.values())
        steps += [("raw rows", raw), ("read", sum(c["kept"] for c in read.values()))]
    for source, counts in read.items():
        losses += [(f"source {source}", why, n) for why, n in counts.get("rejected", {}).items()]
        for code, said in counts.get("warnings", {}).items():
            notes.append((f"{source}: {code}", f"{said['count']:,} times"))
    if cleaned:
        steps.append(("cleaned", cleaned["kept"]))
        for step in cleaned["steps"]:
            where = f"cleaning, {step['step']}"
            losses += [(where, why, n) for why, n in step["rejected"].items()]
            if step["changed"]:
                notes.append((f"{step['step']}: rows changed", f"{step['changed']:,}"))
    sides = {side: split[side] for side in ("train", "validation", "test")} if split else {}
    steps += sides.items()
    return {
        "name": name,
        "raw": raw,
        "lost": raw - sum(sides.values()) if sides and raw is not None else None,
        "steps": _bars(steps),
        "losses": [
            {"where": where, "reason": why, "rows": n, "share": n / raw if raw else None}
            for where, why, n in losses
        ],
        "notes": notes,
        "templated": [row for key in keys for row in templated_rows(key, name, known)],
    }


def _counts(known: Manifests, folder: str) -> Mapping[str, Any]:
    return known[folder]["counts"] if folder in known else {}


def templated_rows(key: str, dataset: str, known: Manifests) -> list[dict[str, Any]]:
    """Return what templating made of a dataset's train and validation rows for one base."""
    manifest = known.get(f"templated/{key}")
    if manifest is None or manifest["settings"]["dataset"] != dataset:
        return []
    rows = []
    for side, counts in manifest["counts"].items():
        gone = [f"{n:,} {why}" for why, n in counts["rejected"].items()]
        if counts["truncated"]:
            gone.append(f"{counts['truncated']:,} truncated")
        rows.append(
            {
                "base": manifest["settings"]["base"],
                "side": side,
                **{name: counts[name] for name in ("rows", "samples", "tokens", "trained_tokens")},
                "lost": ", ".join(gone) or "none",
            }
        )
    return rows


def _bars(steps: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    most = max((rows for _, rows in steps), default=0)
    return [
        {"label": label, "rows": rows, "percent": round(100 * rows / most, 1) if most else 0}
        for label, rows in steps
    ]


def histories(results: Path, runs: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return each run's losses as rows of {run, step, curve, loss}."""
    found = {}
    for run in runs:
        path = results / "runs" / run / "history.csv"
        if path.exists():
            found[run] = history(path, run)
    return found


def history(path: Path, run: str) -> list[dict[str, Any]]:
    """Return the losses of history.csv; an empty cell is a step that was not evaluated."""
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, cells in enumerate(csv.DictReader(file), start=2):
            try:
                for column, curve in CURVES.items():
                    if cells.get(column):
                        step, loss = int(float(cells["step"])), float(cells[column])
                        rows.append({"run": run, "step": step, "curve": curve, "loss": loss})
            except (KeyError, TypeError, ValueError) as error:
                raise StageError(f"{path}, line {line}: {error}; delete it and rerun") from None
    return rows


def run_row(
    name: str, run: Mapping[str, Any], known: Manifests, losses: Sequence[Mapping[str, Any]] | None
) -> dict[str, Any]:
    """Return a run's line in the table of runs."""
    manifest = known.get(f"runs/{name}", {})
    settings = manifest.get("settings", {})
    training = settings.get("training", {})
    counts = manifest.get("counts", {})
    validation = [r["loss"] for r in losses or [] if r["curve"] == "validation"]
    facts = {key: manifest[key] for key in ("dtype", "device", "threads") if key in manifest}
    shown = {k: v for k, v in settings.items() if k not in ("run", "base", "dataset", "method")}
    if settings.get("method") == "full":
        shown.pop("lora", None)
    return {
        "name": name,
        "base": run["base"],
        "dataset": run["dataset"],
        "method": settings.get("method", run.get("method")),
        "rank": settings.get("lora", {}).get("r") if settings.get("method") != "full" else None,
        "learning_rate": training.get("learning_rate"),
        "epochs": counts.get("epochs"),
        "batch": effective_batch(settings),
        "steps": counts.get("steps"),
        "trainable": counts.get("trainable_parameters"),
        "parameters": counts.get("parameters"),
        "validation_loss": counts.get(
            "averaged_eval_loss", counts.get("best_eval_loss", min(validation, default=None))
        ),
        "computed": computed_share(counts, training),
        "merged": merge_proof(known.get(f"models/{name}", {})),
        "settings": flat_settings({**shown, **facts}),
    }


def computed_share(counts: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """Say how much of what a training computed were tokens; None if that was not counted."""
    if "efficiency" not in counts:
        return None
    share, tokens = counts["efficiency"], counts["computed_tokens"]
    return (
        f"{share:.1%} of the {tokens:,} tokens computed are tokens of rows, the others padding "
        f"({training['batching']} batches)."
    )


def merge_proof(manifest: Mapping[str, Any]) -> str | None:
    """Say how near the merged model is to the trained one; None if it was not compared."""
    merged = manifest.get("proof", {}).get("merged")
    if merged is None:
        return None
    return (
        f"merged and trained model choose the same token at {merged['greedy_agreement']:.2%} of "
        f"{merged['positions']:,} positions; their logits differ by at most "
        f"{merged['max_logit_difference']:.2g}."
    )


def effective_batch(settings: Mapping[str, Any]) -> int | None:
    """Return the rows behind one optimizer step, all devices together."""
    training = settings.get("training")
    if training is None:
        return None
    rows = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
    return rows * settings.get("launch", {}).get("num_processes", 1)


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as (dotted key, text) pairs in the order they stand."""
    flat: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat += flat_settings(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            flat.append((f"{prefix}{key}", ", ".join(map(str, value)) or "none"))
        elif isinstance(value, bool):
            flat.append((f"{prefix}{key}", "yes" if value else "no"))
        else:
            flat.append((f"{prefix}{key}", plain(value)))
    return flat


def evaluations(results: Path, models: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return scores.json and each suite's file of every model, by ``{model}/{file}``."""
    found = {}
    for model in models:
        for name in ("scores.json", *(f"benchmark/{suite}.json" for suite in model["suites"])):
            path = results / "eval" / model["name"] / name
            if path.exists():
                found[f"{model['name']}/{name}"] = read_object(path)
    return found


def cut_answers(
    evaluated: Mapping[str, Mapping[str, Any]], models: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say how many answers to a benchmark's tasks ended at the token limit instead of by itself."""
    said = []
    for model in models:
        for suite in model["suites"]:
            finish = evaluated.get(f"{model['name']}/benchmark/{suite}.json", {}).get("finish", {})
            for task, reasons in finish.items():
                cut, every = reasons.get("length", 0), sum(reasons.values())
                if cut:
                    said.append(
                        f"{task}: {cut:,} of {every:,} answers of {model['name']} were cut off "
                        "at the token limit."
                    )
    return said


def versions(*groups: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return each package with the version, or versions, that took part."""
    found: dict[str, set[str]] = {}
    for group in groups:
        for said in group.values():
            for package, version in said.get("versions", {}).items():
                if isinstance(version, str):  # lm-eval's are per task, and are in its file
                    found.setdefault(package, set()).add(version)
    return [(package, ", ".join(sorted(found[package]))) for package in sorted(found)]


def digests(known: Manifests) -> list[dict[str, Any]]:
    """Return every file that some manifest vouches for."""
    return [
        {"path": normpath(f"{folder}/{name}"), "bytes": said["bytes"], "sha256": said["sha256"]}
        for folder, manifest in known.items()
        for name, said in manifest["outputs"].items()
    ]
