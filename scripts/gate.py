"""End with status 1 if a model fails a gate, for CI and scripts; nothing is made or removed.

reads   gates.json
spec    {}
"""

from __future__ import annotations

import logging
import sys

from sftflow.measured import read_object
from sftflow.stage import StageError, console, run_stage, stage_parser

logger = logging.getLogger("sftflow")


def main(argv: list[str] | None = None) -> None:
    """Say a sentence for each rule that a model fails."""
    args = stage_parser(__doc__, "gates").parse_args(argv)
    said = read_object(args.gates)
    if not said["rules"]:
        raise StageError("the config has no gates; write rules under gates.rules")
    failed = False
    for name, model in said["models"].items():
        for rule in model["rules"]:
            if rule["verdict"] != "pass":
                failed = True
                sentence = f"{name} fails '{rule['rule']}': {rule['sentence']}"
                logger.error("%s", sentence)
                console().say(sentence)
        if model["verdict"] == "pass":
            console().say(f"{name} passes ({len(model['rules'])} gates)")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    run_stage(main)
