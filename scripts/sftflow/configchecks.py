"""What the doctor asks of a config: whether this machine, or its cluster, can do what it wants."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sftflow import plan
from sftflow.config import load_config
from sftflow.configfile import ConfigFault
from sftflow.devices import gpu_count
from sftflow.findings import Finding, fault, ok, warning
from sftflow.launching import check_devices
from sftflow.machinechecks import GIB, nearest, usable_memory
from sftflow.memoryfit import Device, fit, gpu_sizes
from sftflow.modelfolders import check_source, weight_files
from sftflow.schemes import SCHEMES
from sftflow.stage import StageError
from sftflow.trainingdevices import device_fault

HUB_S = 5
OFFLINE = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads HF_HUB_OFFLINE


def config_findings(files: list[Path], folder: Path, on_cluster: bool) -> list[Finding]:
    """Return what can be said of a config whose results are in ``folder``."""
    try:
        config = load_config(files)
    except ConfigFault as error:
        return [fault("config", sentence, "mend the config") for sentence in error.faults]
    found = [ok("config", f"runs: {len(config['runs'])}, start models: {len(config['bases'])}")]
    found += bases(config, folder)
    found += [] if on_cluster else devices(config)  # a login node says nothing of others
    found += [] if on_cluster else memory(config, folder)
    return [*found, *hub(config, folder)]


def launches(files: list[Path]) -> list[tuple[int, int]]:
    """Return GPUs and nodes of each job that wants any; of one GPU if the config is faulty."""
    try:
        config = load_config(files)
    except ConfigFault:
        return [(1, 1)]
    runs = [run["launch"] for run in config["runs"].values()]
    served = (config["serve"]["tensor_parallel_size"], 1)
    return [served, *((launch["num_processes"], launch["num_nodes"]) for launch in runs)]


def bases(config: Mapping[str, Any], folder: Path) -> list[Finding]:
    """Say which start models can't be used, and whether the disk holds what is merged."""
    found, needed = [], 0
    for name, entry in config["bases"].items():
        if entry["path"] is None:
            continue
        model = Path(config["root"], entry["path"])
        try:
            check_source(model)
            size = sum(path.stat().st_size for path in weight_files(model))
        except StageError as error:
            found.append(
                fault("start model", f"bases.{name}: {error}", "mend it or choose another")
            )
            continue
        made = [run for run in plan.merged_runs(config) if plan.root_base(config, run) == name]
        needed += size * len(made)
        found.append(ok("start model", f"{name}: {size / GIB:.1f} GiB of weights"))
    free = shutil.disk_usage(nearest(folder)).free
    if needed > free:
        found.append(
            fault(
                "disk",
                f"merged models take {needed / GIB:.0f} GiB, {free / GIB:.0f} GiB are free",
                "make room, set measure: false for runs that need no model, or train fewer",
            )
        )
    return found


def devices(config: Mapping[str, Any]) -> list[Finding]:
    """Say which runs and servers ask for GPUs that this machine has not."""
    gpus, found = gpu_count(), []
    for name, run in config["runs"].items():
        if lacking := device_fault(run):
            said, instead = lacking
            found.append(fault("GPU", f"runs.{name}.{said}", f"use {instead}, or another machine"))
        try:
            check_devices(run["launch"], gpus)
        except StageError as error:
            found.append(fault("GPU", f"runs.{name}: {error}", "mend runs.*.launch"))
    wanted = config["serve"]["tensor_parallel_size"]
    if gpus and wanted > gpus:
        said = f"serve.tensor_parallel_size is {wanted}, there are {gpus} GPUs"
        found.append(fault("GPU", said, "lower it"))
    for model in [] if gpus else plan.quantized_models(config):
        if not SCHEMES[plan.form_of(model)].on_cpu:
            said = f"{model}: vLLM serves this scheme on a GPU only"
            found.append(fault("GPU", said, "take it out of runs.*.quantize, or use w8a8"))
    return found


def memory(config: Mapping[str, Any], folder: Path) -> list[Finding]:
    """Say which runs can't fit this machine's GPU or memory, or may not."""
    sizes = gpu_sizes()
    if gpu_count() and not sizes:
        return []
    found = []
    for name, run in config["runs"].items():
        size = max(sizes) if sizes else usable_memory() // run["launch"]["num_processes"]
        device = Device(*(("cuda", size, "the GPU") if sizes else ("cpu", size, "this machine")))
        if one := fit(config, name, device, folder / "results"):
            said, todo = one.parts
            found.append((fault if one.sure else warning)("run", said, todo))
    return found


def hub(config: Mapping[str, Any], folder: Path) -> list[Finding]:
    """Say whether the models that are still to be fetched can be."""
    wanted = [
        entry["hub"]
        for name, entry in config["bases"].items()
        if entry["hub"] and not (folder / "results/hub" / name / "manifest.json").exists()
    ]
    if not wanted:
        return [ok("hub", "nothing is to be fetched")]
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in OFFLINE:
        todo = "unset it where models are fetched, or give bases.*.path"
        return [fault("hub", f"{wanted[0]} is to be fetched, and HF_HUB_OFFLINE is set", todo)]
    place = urlsplit(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    token = "a token is set" if os.environ.get("HF_TOKEN") else "no HF_TOKEN, public models only"
    proxied = any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY"))
    try:
        if not proxied:
            address = (place.hostname, place.port or 443)
            socket.create_connection(address, timeout=HUB_S).close()
    except OSError as error:
        todo = "run where there is a network (a login node), or give bases.*.path"
        return [fault("hub", f"{place.hostname} is not reached ({error}); {wanted[0]}", todo)]
    reached = "asked through a proxy" if proxied else "reached"
    return [ok("hub", f"{place.hostname} is {reached}; {token}; {', '.join(wanted)}")]
