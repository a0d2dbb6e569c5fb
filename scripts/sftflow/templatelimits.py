"""Bounds on rendering a chat template: a program that came with somebody's model.

transformers renders it in Jinja's sandbox, which keeps it from files, modules and attributes of
Python, but not from running for ever or filling the memory: two nested loops over range(99999)
take an hour, and 9**9**9 never ends. So a template is first rendered in a child process with
bounds on its processor time and memory (one expression in C can't be stopped otherwise), and
each row of data has a bound on its processor time. Time of the processor, not of the clock: on a
busy machine a good template stays good.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

from sftflow.stage import StageError

PROBE_S = 10  # of the processor; the shipped templates take 30 ms with the fork (measured)
ROW_S = 30  # of the processor; a conversation of 1,000 turns takes one second (measured)
MEMORY_BYTES = 1 << 30  # beyond what the process has already
CLOCK_S = 300  # in case that the child can't use its time
DONE, TOO_MUCH_MEMORY = 0, 3


def check_template(text: str, render: Callable[[], object], name: str) -> None:
    """Raise StageError if ``render``, which renders the template ``text``, would not end.

    What else ``render`` raises is left to its next caller.
    """
    if "**" in operators(text):
        raise StageError(
            f"{name}: the chat template calculates a power (**), which can take for ever in one "
            "expression; take it out of a copy of the template"
        )
    status = _status_of_child(render)
    if status == TOO_MUCH_MEMORY:
        raise StageError(
            f"{name}: the chat template takes more than {MEMORY_BYTES >> 30} GiB of memory for a "
            "plain question and answer; choose another template"
        )
    if status != DONE:
        raise StageError(
            f"{name}: the chat template did not end within {PROBE_S} s for a plain question and "
            "answer; choose another template"
        )


def operators(text: str) -> set[str]:
    """Return the operators of a template's expressions; its literal text has none."""
    import jinja2

    try:
        return {value for _, kind, value in jinja2.Environment().lex(text) if kind == "operator"}  # noqa: S701 (nothing is rendered)
    except jinja2.TemplateSyntaxError:  # told by whoever renders it
        return set()


def _status_of_child(render: Callable[[], object]) -> int:
    """Run ``render`` in a bounded copy of this process; return its exit status, -1 if killed."""
    gc.freeze()  # a collection in the child would copy every page of its parent
    child = os.fork()
    if child == 0:
        status = DONE
        try:
            _bound_this_process()
            render()
        except MemoryError:
            status = TOO_MUCH_MEMORY
        except BaseException:  # noqa: S110 (told by the next caller)
            pass
        finally:
            os._exit(status)
    gc.unfreeze()
    until_s = time.monotonic() + CLOCK_S
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > until_s:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(ended[1])


def _bound_this_process() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    for kind, bound in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, most),
        (resource.RLIMIT_CPU, PROBE_S),
    ):
        _, hard = resource.getrlimit(kind)  # a cluster's own limit (ulimit) can't be raised
        within = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (within, hard))
