"""How long a client stood still while it measured: it was stopped, or had no processor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK_S = 0.25


class Standstill:
    """The longest time that an event loop was late, over all blocks that were watched."""

    def __init__(self) -> None:
        """Nothing has been watched."""
        self.longest_s = 0.0

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the clock four times a second while the block runs."""
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            before_s = time.perf_counter()
            await asyncio.sleep(TICK_S)
            late_s = time.perf_counter() - before_s - TICK_S
            self.longest_s = max(self.longest_s, late_s)
