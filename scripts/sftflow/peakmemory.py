"""The most memory that a process had in use since a moment: on its GPU, else its own.

On a CPU that is the kernel's own peak of resident memory (VmHWM of proc(5)), which no short-lived
buffer escapes.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

KEPT = "memory.json"  # in a run's folder: what its training used
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_bytes(key: str) -> int:
    """Return VmRSS (now) or VmHWM (the peak) of this process."""
    found = re.search(rf"^{key}:\s+(\d+) kB$", STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class Peak:
    """What is in use beside what was there at the start."""

    def __init__(self) -> None:
        """Start here: code and libraries that are loaded already are not counted."""
        import torch

        self.on_gpu = torch.cuda.is_available()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            return
        with suppress(OSError):  # refused in some containers: then the peak may be the imports'
            RESET.write_text("5")
        self.before = resident_bytes("VmRSS")

    def bytes(self) -> int:
        """Return the peak (of tensors on a GPU, of resident memory on a CPU)."""
        import torch

        if self.on_gpu:
            return torch.cuda.max_memory_allocated()
        return max(0, resident_bytes("VmHWM") - self.before)


def device_bytes() -> int:
    """Return the memory of the device that computes."""
    import torch

    from sftflow.hardware import memory_bytes

    if torch.cuda.is_available():
        return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    return memory_bytes()
