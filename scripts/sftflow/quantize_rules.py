"""What must hold of runs with quantised exports; sentences, [] if all is well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sftflow.baseconfigs import base_number
from sftflow.plan import root_base
from sftflow.schemes import ASKED, shape_faults


def quantize_faults(config: dict, root: Path) -> Iterator[str]:
    """Yield the faults of runs.*.quantize; references of runs are sound."""
    for name, run in config["runs"].items():
        if not run["quantize"]:
            continue
        if not run["measure"]:
            yield (
                f"runs.{name}.quantize: nothing is measured of this run (measure: false); leave "
                "one of them out"
            )
        if run["serve"] == "adapter":
            yield (
                f"runs.{name}.quantize: quantised is the merged model, and this run is served as "
                "an adapter only; set serve: both"
            )
        base = root_base(config, name)
        said = {key: base_number(config, root, base, key) for key in ASKED}
        for scheme in run["quantize"]:
            for fault in shape_faults(scheme, said):
                yield f"runs.{name}.quantize: of base '{base}' {fault}"
