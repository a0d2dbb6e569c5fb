"""Whether a run fits its device, as far as a config and a config.json tell; and what would fit.

Nothing is loaded and no framework imported: a dry run asks here. A run is called too large only if
weights, gradients and the optimizer's moments alone are more than the device has, which no batch
can change; where the whole estimate is more, that is a warning.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftflow.baseconfigs import read_config
from sftflow.devices import gpu_count
from sftflow.memoryestimate import SHARDED, Estimate, estimated
from sftflow.methods import METHODS
from sftflow.modelshape import Shape, made_config, shape_of
from sftflow.optimizers import OPTIMIZERS
from sftflow.plan import root_base

GIB = 2**30
SHORTEST = 256  # tokens; a shorter max_length is no advice
MOST_WAYS = 3

Way = tuple[str, dict[str, Any]]  # a change in words, and the run with it


@dataclass(frozen=True)
class Device:
    """What a process of a training has for itself."""

    kind: str  # cpu or cuda
    size: int  # bytes
    name: str  # in a sentence: "this machine's memory"


@dataclass(frozen=True)
class Fit:
    """A run that may not fit: ``sure`` if no batch, however small, would."""

    run: str
    sure: bool
    parts: tuple[str, str]  # what is wrong, what would fit

    @property
    def sentence(self) -> str:
        """Return both in one sentence."""
        return "; ".join(self.parts)


def base_shape(config: Mapping[str, Any], run: str, results: Path) -> Shape | None:
    """Return the shape of the base that a run goes back to; None if it can't be known yet.

    Of a hub model config.json is known once it was fetched here, or lies in the hub's own cache.
    """
    name = root_base(config, run)
    entry = config["bases"][name]
    if entry["make"] is not None:
        return shape_of(made_config(entry["make"]))
    if entry["path"] is not None:
        folders = [Path(config["root"], entry["path"])]
    else:
        owned = f"models--{entry['hub'].replace('/', '--')}/snapshots/{entry['revision']}"
        folders = [results / "hub" / name, _hub_cache() / owned]
    for folder in folders:
        if known := read_config(folder):
            return shape_of(known)
    return None


def _hub_cache() -> Path:
    """Return where huggingface_hub keeps models, without importing it."""
    home = os.environ.get("HF_HOME", Path.home() / ".cache/huggingface")
    return Path(os.environ.get("HF_HUB_CACHE", Path(home, "hub"))).expanduser()


def gpu_sizes() -> list[int]:
    """Return the memory of each NVIDIA GPU here (bytes); none where no driver answers."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    if not gpu_count():
        return []
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True).stdout
        return [int(line) * 2**20 for line in told.split()]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []


def dtype_on(run: Mapping[str, Any], kind: str) -> str:
    """Return the precision of a run there; auto is taken for the smaller one on a GPU."""
    wanted = run["training"]["dtype"]
    return wanted if wanted != "auto" else "bfloat16" if kind == "cuda" else "float32"


def expected(shape: Shape, run: Mapping[str, Any], kind: str) -> Estimate:
    """Return the estimate of a run on a device of this kind, for full batches of max_length."""
    return estimated(shape, run, dtype_on(run, kind), kind)


def fit(
    config: Mapping[str, Any], run: str, device: Device, results: Path = Path("results")
) -> Fit | None:
    """Return what is to be said of a run's memory; None if it fits or nothing can be known."""
    entry = config["runs"][run]
    shape = base_shape(config, run, results) if entry["check_memory"] else None
    if shape is None:
        return None
    found = expected(shape, entry, device.kind)
    if found.peak <= device.size:
        return None
    has = f"{device.name} has {device.size / GIB:.1f} GiB"
    ways = what_fits(shape, entry, device)
    if found.least > device.size:
        said = (
            f"runs.{run} can't fit: weights ({_gib(found.weights)}), gradients "
            f"({_gib(found.gradients)}) and the optimizer's moments ({_gib(found.optimizer)}) "
            f"alone are {_gib(found.least)}, and {has}"
        )
        return Fit(run, True, (said, ways))
    said = (
        f"runs.{run} may not fit: a batch of {found.rows} rows of {found.length} tokens takes "
        f"up to {_gib(found.peak)}, and {has}"
    )
    return Fit(run, False, (said, ways))


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def what_fits(shape: Shape, run: Mapping[str, Any], device: Device) -> str:
    """Name what would make a run fit, the mildest first, with its estimate."""
    found: list[str] = []
    for ways in smaller(run, device.kind, shape.experts is not None):
        for said, changed in ways:
            peak = expected(shape, changed, device.kind).peak
            if peak <= device.size:
                found.append(f"{said} ({_gib(peak)})")
                break
    largest = f"a device with {_gib(expected(shape, run, device.kind).peak)}"
    return f"what would fit: {'; '.join([*found[:MOST_WAYS], largest])}"


def smaller(run: Mapping[str, Any], kind: str, is_mixture: bool = False) -> Iterator[Iterator[Way]]:
    """Yield ways of training a run in less memory, each from its mildest form on.

    The first two leave the result as it is but for rounding. Experts take no dropout of LoRA.
    """
    yield _fewer_rows(run)
    yield _recomputed(run)
    yield _coarser(run, kind)
    yield _shorter(run)
    plain = METHODS[run["method"]].plain
    for method in ("lora",) * plain + ("qlora",) * (kind == "cuda" and run["method"] != "qlora"):
        changed, said = _with_method(run, method), f"method: {method}"
        if is_mixture:
            changed["lora"] = {**changed["lora"], "lora_dropout": 0}
            said += " with lora.lora_dropout: 0"
        forms = ((f"{said}, {more}", form) for more, form in _recomputed(changed))
        yield itertools.chain([(said, changed)], forms)


def _fewer_rows(run: Mapping[str, Any]) -> Iterator[Way]:
    """Yield half the rows at a time, a quarter ..., of the same rows a step."""
    training = run["training"]
    rows, steps = training["per_device_train_batch_size"], training["gradient_accumulation_steps"]
    fewer = rows
    while fewer % 2 == 0:
        fewer //= 2
        sizes = {"per_device_train_batch_size": fewer}
        sizes |= {"gradient_accumulation_steps": rows * steps // fewer}
        yield (
            " with ".join(f"{key}: {value}" for key, value in sizes.items()),
            _changed(run, **sizes),
        )


def _recomputed(run: Mapping[str, Any]) -> Iterator[Way]:
    """Yield the run with activations made again in the backward pass, then with fewer rows too."""
    if run["method"] == "prefix" or run["training"]["gradient_checkpointing"]:
        return
    said, changed = "gradient_checkpointing: true", _changed(run, gradient_checkpointing=True)
    yield said, changed
    for more, form in _fewer_rows(changed):
        yield f"{said}, {more}", form


def _coarser(run: Mapping[str, Any], kind: str) -> Iterator[Way]:
    """Yield the run with moments of 8 bits, then with activations made again, too.

    Only where they weigh: an adapter has few.
    """
    optim, launch = OPTIMIZERS[run["training"]["optim"]], run["launch"]
    sharded = launch["num_processes"] > 1 and launch["strategy"] in SHARDED
    small = optim.bitsandbytes or optim.factored or not METHODS[run["method"]].plain
    if kind != "cuda" or sharded or small:
        return
    said, changed = "optim: adamw_8bit", _changed(run, optim="adamw_8bit")
    yield said, changed
    for more, form in _recomputed(changed):
        yield f"{said}, {more}", form


def _shorter(run: Mapping[str, Any]) -> Iterator[Way]:
    length = run["max_length"] // 2
    while length >= SHORTEST:
        yield f"max_length: {length}", {**run, "max_length": length}
        length //= 2


def _changed(run: Mapping[str, Any], **training: Any) -> dict[str, Any]:
    return {**run, "training": {**run["training"], **training}}


def _with_method(run: Mapping[str, Any], method: str) -> dict[str, Any]:
    from sftflow.configschema import fill_defaults, schema

    lora = fill_defaults({}, schema()["$defs"]["run"]["properties"]["lora"])
    return {**run, "method": method, "lora": run.get("lora", lora)}
