"""Requests to a generator, paid once and kept.

The same request has the same reply for ever (replycache.py), so a rerun gives the same bytes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from sftflow.apiclient import told
from sftflow.backends import RemoteAPI, ServedBase, Unaskable
from sftflow.completions import read_completion
from sftflow.replycache import UNASKABLE, Reply, ReplyCache, request_digest
from sftflow.spending import Budget, Pace, Stopped, most_prompt_tokens
from sftflow.stage import StageError

logger = logging.getLogger("sftflow")
AHEAD = 4  # tasks that are handed out for each request under way, so that none waits long
Task, Result = TypeVar("Task"), TypeVar("Result")


class NoReply(Exception):
    """A request that can't be sent, or failed after all retries where that is no reason to stop."""


class Generator:
    """Asks, from several threads, and keeps each reply before anybody uses it."""

    def __init__(
        self,
        backend: RemoteAPI | ServedBase,
        cache: ReplyCache,
        endpoint: dict[str, Any],
        request: dict[str, Any],
        seed: int,
        *,
        payer: str,
        pace: Pace,
        budget: Budget,
        on_failure: str,
        who: str = "make",
    ) -> None:
        """Take who replies, retrying by itself, and what every request says.

        ``endpoint``: model, max_tokens_key, send_seed. ``request`` has temperature and
        max_tokens. ``payer`` is who pays: a source, or a judge. ``who`` begins each sentence of a
        fault.
        """
        self.who = who
        self.backend, self.cache, self.endpoint, self.request = backend, cache, endpoint, request
        self.seed, self.pace, self.budget, self.on_failure = seed, pace, budget, on_failure
        self.payer = payer
        self.fatal: StageError | None = None
        self.paid = 0  # requests that no earlier run had paid
        self.used: Counter[str] = Counter()  # requests and tokens of this job, paid or known
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[Reply]] = {}
        self._counted: set[str] = set()

    def stop(self) -> None:
        """Send nothing more; what is under way still comes."""
        self.pace.stopped.set()

    def ask(self, messages: Sequence[dict[str, str]], draw: int = 0, **more: Any) -> Reply:
        """Return the reply to a conversation; ``draw`` numbers several to the same one.

        ``more`` goes over the request's parameters. Raises NoReply, or StageError for what no
        other request would escape.
        """
        body = {"model": self.endpoint["model"], "messages": list(messages)}
        body |= {**self.request, **more}
        if self.request["temperature"] is None:  # the endpoint takes none, not even of ours
            del body["temperature"]
        if self.endpoint["send_seed"]:
            body["seed"] = self.seed + draw
        digest = request_digest(self.backend.identity, body, self.seed + draw)
        with self._lock:
            other = self._under_way.get(digest)
            if other is None:
                mine = self._under_way[digest] = Future()
        if other is not None:
            return other.result()
        try:
            mine.set_result(self._known_or_paid(digest, body))
        except BaseException as error:
            mine.set_exception(error)
        finally:
            with self._lock:
                del self._under_way[digest]
        return mine.result()

    def _known_or_paid(self, digest: str, body: dict[str, Any]) -> Reply:
        """Return the reply when it is in the cache, and count it the first time it is used."""
        reply = self.cache.get(digest) or self._pay(digest, body)
        if reply.finish_reason == UNASKABLE:
            raise NoReply(reply.text)
        with self._lock:
            if digest not in self._counted:
                self._counted.add(digest)
                self.used.update(
                    requests=1,
                    prompt_tokens=reply.prompt_tokens,
                    completion_tokens=reply.completion_tokens,
                )
        return reply

    def _pay(self, digest: str, body: dict[str, Any]) -> Reply:
        import openai

        most = (most_prompt_tokens(body["messages"]), body["max_tokens"])
        reserved, used = self.budget.reserve(*most), (0, 0)
        try:
            entry = self.pace.wait(sum(most))
            reply = self._reply(digest, body, most)
            self.cache.put(reply, self.payer)
            used = (reply.prompt_tokens, reply.completion_tokens)
            entry[1] = sum(used)
        except Stopped:
            raise self.fatal or StageError(f"{self.who}: stopped before all was asked") from None
        except (openai.OpenAIError, ValueError) as error:
            raise self._fault(error) from None
        finally:
            self.budget.settle(reserved, used)
        with self._lock:
            self.paid += reply.finish_reason != UNASKABLE
        return reply

    def _reply(self, digest: str, body: dict[str, Any], most: tuple[int, int]) -> Reply:
        try:
            return read_completion(digest, self._send(body), most)
        except Unaskable as error:  # kept as well: nobody has to wait for a server to hear it again
            return Reply(digest, str(error), UNASKABLE, 0, 0)

    def _send(self, body: dict[str, Any]) -> Any:
        known = ("model", "messages", "temperature", "max_tokens", "seed")
        plain = {key: body[key] for key in known if key in body}
        plain[self.endpoint["max_tokens_key"]] = plain.pop("max_tokens")
        more = {key: value for key, value in body.items() if key not in known}
        return self.backend.complete(**plain, extra_body=more or None)

    def _fault(self, error: Exception) -> Exception:
        """Return what a failed request means; if that is the end, nothing more is sent."""
        fatal = self.backend.fatal(error)
        if fatal:
            said = f"{self.who}: {fatal}"
        elif self.on_failure == "stop":
            said = (
                f"{self.who}: a request failed after all retries ({told(error)}); what was paid is "
                "kept: run again to go on, or set on_failure to reject"
            )
        else:
            return NoReply(told(error))
        self.fatal = self.fatal or StageError(said)
        self.stop()
        return self.fatal


def in_order(
    tasks: Iterable[Task],
    work: Callable[[Task], Result],
    concurrency: int,
    wanted: Callable[[], float],
    stop: Callable[[], None],
) -> Iterator[Result]:
    """Yield ``work`` of each task in the tasks' order, ``concurrency`` of them at once.

    No more tasks are handed out than results are ``wanted``, and none once that is 0. ``stop``
    is called if anything ends it before its time, so that nothing more is sent.
    """
    waiting: deque[Future[Result]] = deque()
    tasks = iter(tasks)
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            while wanted() > 0:
                while len(waiting) < min(AHEAD * concurrency, wanted()):
                    try:
                        task = next(tasks)
                    except StopIteration:
                        break
                    waiting.append(pool.submit(work, task))
                if not waiting:
                    return
                yield waiting.popleft().result()
        except BaseException:
            stop()
            raise
        finally:  # what was sent is paid for: it is waited for and kept
            pool.shutdown(cancel_futures=True)
