"""What every stage script does first and last: arguments, log file, console line, exit.

A stage is called as ``python scripts/<stage>.py --spec JSON --log FILE --<name> PATH ...``.
Everything that it or a library prints goes to the log file; the console gets only what
``Console`` is told to show (one line at a time) and, at the end of a failed stage, one
sentence that says what is wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sftflow.longspecs import unpacked
from sftflow.plainlines import one_line

logger = logging.getLogger("sftflow")


class StageError(Exception):
    """A fault that its reader can act on: one sentence, shown without a traceback."""


def stage_parser(doc: str | None, *names: str) -> argparse.ArgumentParser:
    """Return a parser for ``--spec`` (JSON), ``--log`` and one required path per name."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spec", type=unpacked, required=True, help="settings, JSON")
    parser.add_argument("--log", type=Path, help="log file (default: the console)")
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser


class Console:
    """The terminal of the person who started the workflow, shared by all running stages."""

    def __init__(self) -> None:
        """Remember the present stderr, before it is turned into the log file."""
        self._stream = os.fdopen(os.dup(2), "w", buffering=1)
        self.label = Path(sys.argv[0]).stem

    def say(self, text: str) -> None:
        """Show one line, marked with the stage's name; of a server's end, its last lines too."""
        plain = "\n".join(map(one_line, text.split("\n")))
        self._stream.write(f"[{self.label}] {plain}\n")


class Progress:
    """Lines with done/total, rate and ETA: all of them in the log, some on the console."""

    def __init__(self, total: int, unit: str, every_s: float = 10.0) -> None:
        """Start the clock for ``total`` items called ``unit``."""
        self.total, self.unit, self.every_s = total, unit, every_s
        self.start_s = self.shown_s = time.monotonic()
        self.done = 0

    def add(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more items; show a line if the last one is ``every_s`` old."""
        self.done += n
        now_s = time.monotonic()
        if now_s - self.shown_s < self.every_s and self.done < self.total:
            return
        self.shown_s = now_s
        rate = self.done / max(now_s - self.start_s, 1e-9)
        left_s = (self.total - self.done) / rate if rate else float("inf")
        line = (
            f"{self.done}/{self.total} {self.unit}, {rate:.1f}/s, "
            f"ETA {int(left_s) // 60}:{int(left_s) % 60:02d}"
        )
        line = f"{line}, {note}" if note else line
        logger.info(line)
        console().say(line)


_console: Console | None = None


def console() -> Console:
    """Return the console of this process."""
    global _console  # one terminal per process
    if _console is None:
        _console = Console()
    return _console


def _log_to(path: Path) -> None:
    """Send fd 1 and 2, and so every library and child process, to the new file ``path``."""
    console()
    try:
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
    except OSError as error:
        from sftflow.machinefaults import machine_fault

        console().say(f"error: the log can't be written: {machine_fault(error) or error}")
        sys.exit(1)


def run_stage(main: Callable[[list[str]], None]) -> None:
    """Run a stage's ``main`` and turn its end into an exit status.

    ``StageError`` gives its sentence and status 1; anything else gives its traceback in
    the log and one line on the console, a sentence if the machine is to blame (a full disk).
    SystemExit and signals pass through.
    """
    argv = sys.argv[1:]
    log = argv[argv.index("--log") + 1] if "--log" in argv else None
    try:
        if log:
            _log_to(Path(log))
        logging.basicConfig(
            stream=sys.stderr,
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        logger.info("argv: %s", " ".join(argv))
        main(argv)
    except StageError as error:
        if log:
            console().say(f"error: {error}")
        logger.error("%s", error)
        sys.exit(1)
    except Exception as error:
        _tell(error, log)
        sys.exit(1)


def _tell(error: Exception, log: str | None) -> None:
    """Say on the console what ended a stage, and in the log, which may be on a full disk, how."""
    from sftflow.machinefaults import machine_fault

    fault = machine_fault(error)
    first = str(error).strip().split("\n")[0]
    said = f"error: {fault}" if fault else f"failed: {type(error).__name__}: {first}"
    if log:
        console().say(f"{said} (see {log})")
    with suppress(OSError):
        traceback.print_exc()
        if fault:
            logger.error("%s", fault)
