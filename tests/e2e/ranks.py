"""Trainings of two processes without a launcher: each rank is forked from warmstart's server.

The ranks have the environment that `accelerate launch` gives them for the options of launching.py,
and meet by gloo. What is not paid again are the imports, 7 s of processor time a rank.
"""

from __future__ import annotations

import os
from pathlib import Path

from warmstart import Stage

from sftflow.launching import free_port, launch_command, without_log

ON_CPU = Path(__file__).with_name("sharded_on_cpu.py")
RANKS = 2


def accelerate_environment(strategy: str, accumulation: int) -> dict[str, str]:
    """Return the variables that accelerate's launcher sets for a strategy."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    launch = {"num_processes": RANKS, "strategy": strategy}
    line = launch_command(launch, ["train.py"], "float32", accumulation)
    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args(line[3:]))
    if strategy.startswith("deepspeed"):
        arguments.deepspeed_fields_from_accelerate_config = ""
        _, found = prepare_deepspeed_cmd_env(arguments)
    else:
        found = prepare_multi_gpu_env(arguments)
    return {key: value for key, value in found.items() if os.environ.get(key) != value}


class Ranks:
    """A training of two processes."""

    def __init__(self, folder: Path, line: list[str], spec: dict) -> None:
        """Start the stage's command line once per rank; ``spec`` is in it."""
        strategy = spec["launch"]["strategy"]
        shared = {
            **accelerate_environment(strategy, spec["training"]["gradient_accumulation_steps"]),
            "ACCELERATE_USE_CPU": "true",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free_port()),
            "WORLD_SIZE": str(RANKS),
            "LOCAL_WORLD_SIZE": str(RANKS),
        }
        line = without_log(line)
        if strategy != "ddp":
            line = [line[0], str(ON_CPU), *line[1:]]
        self.ranks = [
            Stage(line, folder, {**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(RANKS)
        ]

    def run(self) -> bool:
        """Return whether all still run."""
        return all(rank.poll() is None for rank in self.ranks)

    def wait(self) -> list[int | None]:
        """Wait for the end of each, kill what does not end; return their exit statuses."""
        codes = [rank.wait(120) for rank in self.ranks]
        for rank in self.ranks:
            if rank.poll() is None:
                rank.send_signal(9)
        return codes

    def said(self) -> str:
        """Return what each has printed, one after the other."""
        return "\n".join(rank.said() for rank in self.ranks)
