"""The signal that the kernel sends to a process when the one that started it has ended."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1  # prctl(2)
_prctl = ctypes.CDLL(None, use_errno=True).prctl  # found before any fork


def end_with(parent: int, number: signal.Signals) -> None:
    """Let this process get the signal ``number`` when the one that started it ends.

    ``parent`` is that one's pid: if it is gone already, this process ends at once. What counts
    to the kernel is the thread that forked, so only one that lives as long as its process may
    start what calls this. An ``exec`` keeps the wish, a ``fork`` does not pass it on.
    """
    _prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before this was asked
        os._exit(128 + number)
