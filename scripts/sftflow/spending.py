"""What requests may use: requests and tokens a minute, tokens and money in all.

A request asks for leave with the most that it can use; what it did use is settled afterwards.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sftflow.stage import StageError

WINDOW_S = 60.0
FRAME_TOKENS = 64  # what a chat template may put around a conversation


def most_prompt_tokens(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return a bound: a byte-level tokenizer makes no more than one token of a byte."""
    said = (m["content"].encode("utf-8", "surrogatepass") for m in messages)
    return FRAME_TOKENS + sum(map(len, said))


def cost(price: Mapping[str, float] | None, prompt_tokens: int, completion_tokens: int) -> float:
    """Return what tokens cost, in the currency of ``price`` (per million); 0 without a price."""
    if price is None:
        return 0.0
    return (prompt_tokens * price["input"] + completion_tokens * price["output"]) / 1e6


class Stopped(Exception):
    """A request that is not to be sent any more."""


class Pace:
    """At most so many requests and so many tokens within any minute; None is no limit."""

    def __init__(
        self,
        requests: int | None,
        tokens: int | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        """Take the limits per minute."""
        self.stopped = threading.Event()
        self.requests, self.tokens, self.clock = requests, tokens, clock
        self.sleep = sleep or self.stopped.wait
        self._lock = threading.Lock()
        self._sent: deque[list[float]] = deque()  # [time, tokens] of the last minute

    def wait(self, tokens: int) -> list[float]:
        """Return, when there is room for a request of ``tokens``, the entry to settle.

        A request that is larger than the limit goes alone. Raises Stopped once ``stopped`` is
        set: nothing more is to be sent.
        """
        while True:
            if self.stopped.is_set():
                raise Stopped
            with self._lock:
                pause_s = self._pause_s(tokens)
                if pause_s <= 0:
                    self._sent.append([self.clock(), tokens])
                    return self._sent[-1]
            self.sleep(pause_s)

    def _pause_s(self, tokens: int) -> float:
        now_s = self.clock()
        while self._sent and self._sent[0][0] + WINDOW_S <= now_s:
            self._sent.popleft()
        used = sum(entry[1] for entry in self._sent)
        full = self.requests is not None and len(self._sent) >= self.requests
        full |= self.tokens is not None and bool(self._sent) and used + tokens > self.tokens
        return self._sent[0][0] + WINDOW_S - now_s if full else 0.0


class Budget:
    """Bounds of what one source pays, in all runs there ever were."""

    def __init__(
        self,
        most_tokens: int | None,
        most_cost: float | None,
        price: Mapping[str, float] | None,
        paid: tuple[int, int],
        who: str = "make",
    ) -> None:
        """Take what may be used in all (None is no bound) and the tokens paid by earlier runs.

        ``who`` begins each sentence of a fault.
        """
        self.who = who
        self.most_tokens, self.most_cost, self.price = most_tokens, most_cost, price
        self.prompt_tokens, self.completion_tokens = paid
        self._reserved: list[tuple[int, int]] = []
        self._room = threading.Condition()

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> tuple[int, int]:
        """Set aside the most that a request can use; wait for others that are under way.

        Raises StageError if the request could go over with nothing under way.
        """
        asked = (prompt_tokens, completion_tokens)
        with self._room:
            while fault := self._fault(asked):
                if not self._reserved:
                    raise StageError(fault)
                self._room.wait()
            self._reserved.append(asked)
        return asked

    def _fault(self, asked: tuple[int, int]) -> str | None:
        prompt, completion = (sum(part) for part in zip(asked, *self._reserved, strict=True))
        used = self.prompt_tokens + self.completion_tokens
        kept = "what was paid is kept: raise it to go on, or lower rows"
        if self.most_tokens is not None and used + prompt + completion > self.most_tokens:
            return (
                f"{self.who}: the next request could go over max_total_tokens {self.most_tokens:,} "
                f"({used:,} paid so far, up to {prompt + completion:,} more); {kept}"
            )
        paid = cost(self.price, self.prompt_tokens, self.completion_tokens)
        more = cost(self.price, prompt, completion)
        if self.most_cost is not None and paid + more > self.most_cost:
            return (
                f"{self.who}: the next request could go over max_cost {self.most_cost:g} "
                f"({paid:.4g} paid so far, up to {more:.4g} more); {kept}"
            )
        return None

    def settle(self, reserved: tuple[int, int], used: tuple[int, int]) -> None:
        """Count what a request did use in place of what it had set aside."""
        with self._room:
            self._reserved.remove(reserved)
            self.prompt_tokens += used[0]
            self.completion_tokens += used[1]
            self._room.notify_all()
