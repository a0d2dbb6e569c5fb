"""Whether the kernel killed processes of this machine for lack of memory.

Those count that were in a group with a limit of its own: a container, a job of a cluster.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

VMSTAT = Path("/proc/vmstat")


def oom_kills() -> int:
    """Return how many the kernel has killed since it booted; 0 where it does not say."""
    try:
        found = re.search(r"^oom_kill (\d+)", VMSTAT.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


@cache
def oom_kills_before() -> int:
    """Return what ``oom_kills`` was when this process first asked."""
    return oom_kills()


def killed_meanwhile() -> bool:
    """Say whether the kernel has killed for lack of memory since then."""
    return oom_kills() > oom_kills_before()
