"""The page's part about origin: the way from raw data to each model, and the config behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from sftflow.manifests import sha256_json

Manifests = Mapping[str, Mapping[str, Any]]  # folder under results -> manifest

#: Parts of the page's spec that are keys of the config, in the order of the chain.
CONFIG = (
    *("title", "sources", "datasets", "runs", "suites", "judges", "people", "comparisons"),
    *("gates", "slo"),
)


def ways(spec: Mapping[str, Any], known: Manifests) -> list[dict[str, Any]]:
    """Return, per model, each stage's results behind it: what, which, and a digest of the files."""
    return [{"model": m["name"], "steps": _way(m, spec, known)} for m in spec["models"]]


def _way(model: Mapping[str, Any], spec: Mapping[str, Any], known: Manifests) -> list[dict]:
    name, training = model["name"], model.get("run") or model["name"]
    run = spec["runs"].get(training)
    steps = []
    if run is not None:
        dataset = run["dataset"]
        sources = spec["datasets"].get(dataset, {}).get("sources", [])
        steps += [_step("source", source, f"sources/{source}", known) for source in sources]
        steps += [_step("dataset", dataset, f"datasets/{dataset}", known)]
        keys = [k for k in model["templated"] if k.startswith(f"{dataset}.")]
        steps += [_step("tokens", key, f"templated/{key}", known) for key in keys]
        steps += [_step("start model", run["base"], f"models/{run['base']}", known)]
        steps += [_step("training", training, f"runs/{training}", known)]
    if model.get("form") == "adapter":  # the training's own
        return steps
    return [*steps, _step("model", name, f"models/{name}", known)]


def _step(what: str, which: str, folder: str, known: Manifests) -> dict[str, Any]:
    outputs = known.get(folder, {}).get("outputs")
    digest = None
    if outputs:
        digest = sha256_json({path: said["sha256"] for path, said in outputs.items()})[:8]
    return {"what": what, "which": which, "digest": digest}


def config_text(spec: Mapping[str, Any]) -> str:
    """Return the part of the config that the page was made for, defaults filled in, as YAML."""
    kept = {key: spec[key] for key in CONFIG if spec.get(key)}
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100)
