"""Use a served model: wait for it, share or reserve it, and prove that it lived through.

``/health`` says 200 while the engine hangs and while the tokenizer is empty, and neither
Snakemake nor vLLM's exit status tells of a server that died in the middle. So ready means a
real request whose prompt tokens are those of the model folder's own tokenizer and template,
and done means that the very same start of the server still answers afterwards.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from sftflow.endpoint import Endpoint, ask, last_lines, read_endpoint, supervisor_lives
from sftflow.lockholders import told_holders
from sftflow.modeltokenizers import load_tokenizer
from sftflow.stage import StageError, console

POLL_S = 0.25
SAY_EVERY_S = 10.0
STALE_S = 10.0  # a file of an earlier run may lie there until the supervisor replaces it
NOTICE_S = 2.0
START_SLACK_S = 60.0  # over the supervisor's own time limit, which speaks first
REQUEST_S = 180.0  # a first request may load or compile what later ones find ready

Message = Mapping[str, Any]

# Digits, accents, an emoji and line ends are where two tokenizers differ first.
PROBES: tuple[tuple[Message, ...], ...] = (
    ({"role": "user", "content": "Ready? 12 + 30 = 42, naïve café 😀\n  ok"},),
    (
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello! How can I help?"},
        {"role": "user", "content": "Count to 1,000."},
    ),
)

logger = logging.getLogger("sftflow")


@dataclass(frozen=True)
class Server:
    """A server that is ready, as its user sees it."""

    endpoint: Endpoint
    model: str  # its name in requests: of the model itself, or of an adapter on it
    tokenizer: Any  # of the model folder, the one that the server has been compared with
    max_model_len: int  # prompt + answer (tokens)

    @property
    def url(self) -> str:
        """Return the base URL of the OpenAI API, ending in /v1."""
        return self.endpoint.url

    @property
    def api_key(self) -> str:
        """Return the key of this start."""
        return self.endpoint.api_key

    @property
    def boot_id(self) -> str:
        """Return the name of this start."""
        return self.endpoint.boot_id

    @property
    def headers(self) -> dict[str, str]:
        """Return what every request needs."""
        return self.endpoint.headers

    @property
    def settings(self) -> dict[str, Any]:
        """Return the engine's settings."""
        return self.endpoint.settings

    def prompt_ids(self, messages: Sequence[Message], tools: Any = None) -> list[int]:
        """Return the token ids that the server should see for a conversation."""
        return prompt_ids(self.tokenizer, messages, tools)


@contextmanager
def served(
    path: Path, model: Path, name: str | None = None, exclusive: bool = False
) -> Iterator[Server]:
    """Yield the server of ``path`` once it is ready, alone with it if ``exclusive``.

    ``name`` is the one of its models that is asked, by default the one without an adapter.
    Raises StageError if it does not get ready, dies, or is not the same at the end.
    """
    take_a_thread()
    tokenizer = talking_tokenizer(model)  # while the server starts
    endpoint = wait_until_serving(path)
    name = name or endpoint.model
    with reserved(path, endpoint, exclusive), witnessed(path, endpoint):
        check_prompts(endpoint, name, tokenizer)
        card = _answer(endpoint, "/v1/models")["data"][0]
        yield Server(endpoint, name, tokenizer, card["max_model_len"])
        check_prompts(endpoint, name, tokenizer)


def take_a_thread() -> None:
    """Let OpenMP have a thread: Snakemake gives none to a job with `threads: 0`."""
    if os.environ.get("OMP_NUM_THREADS") == "0":
        os.environ["OMP_NUM_THREADS"] = "1"


@contextmanager
def witnessed(path: Path, endpoint: Endpoint) -> Iterator[None]:
    """Say that the server died, if it did, in place of what its user saw of that."""
    try:
        yield
    except Exception as error:
        # A failed request is often seen before the supervisor has noticed the death.
        until_s = time.monotonic() + NOTICE_S
        while time.monotonic() < until_s:
            check_lives(path, endpoint, f"\n(seen as {type(error).__name__}: {error})")
            time.sleep(POLL_S)
        raise
    check_lives(path, endpoint)


def talking_tokenizer(model: Path) -> Any:
    """Return the tokenizer of a model folder; raise StageError if it has no chat template."""
    tokenizer = load_tokenizer(model)
    if tokenizer.chat_template is None:
        raise StageError(
            f"{model} has no chat template, so it can't be asked; set bases.*.template"
        )
    return tokenizer


def prompt_ids(tokenizer: Any, messages: Sequence[Message], tools: Any = None) -> list[int]:
    """Return the ids of a rendered conversation with the assistant's turn opened."""
    rendered = tokenizer.apply_chat_template(
        [dict(m) for m in messages], tools=tools, add_generation_prompt=True, return_dict=True
    )
    return list(rendered["input_ids"])


def wait_until_serving(path: Path) -> Endpoint:
    """Wait until the supervisor says that its server answers.

    Raises StageError if the server is dead or late, with the end of its log.
    """
    start_s = said_s = time.monotonic()
    gone_s: float | None = None
    while True:
        endpoint = read_endpoint(path)
        lives = supervisor_lives(endpoint)
        if endpoint.state == "serving" and lives:
            return endpoint
        now_s = time.monotonic()
        gone_s = None if lives else gone_s or now_s
        if (lives and endpoint.state == "dead") or (gone_s and now_s - gone_s > STALE_S):
            raise StageError(death(endpoint))
        if now_s - start_s > endpoint.start_timeout_s + START_SLACK_S:
            raise StageError(
                f"the server of {endpoint.model} is still {endpoint.state} after "
                f"{now_s - start_s:.0f} s; see {endpoint.log}"
            )
        if now_s - said_s > SAY_EVERY_S:
            said_s = now_s
            console().say(f"waiting for vLLM ({endpoint.state}): {now_s - start_s:.0f} s")
        time.sleep(POLL_S)


def death(endpoint: Endpoint) -> str:
    """Return how a server ended and the last lines of its log."""
    why = endpoint.reason or "its supervisor is gone"
    lines = endpoint.last_lines or last_lines(endpoint.log)
    return "\n    | ".join([f"the server of {endpoint.model} is not there: {why}", *lines])


def check_lives(path: Path, endpoint: Endpoint, more: str = "") -> None:
    """Raise StageError unless the same start of the server is still serving."""
    try:
        now = read_endpoint(path)
    except StageError:  # an ordered stop has removed the file
        raise StageError(
            f"the server of {endpoint.model} was stopped while it was in use{more}"
        ) from None
    if now.boot_id != endpoint.boot_id:
        raise StageError(f"the server of {endpoint.model} was restarted while it was in use{more}")
    if now.state != "serving" or not supervisor_lives(now):
        raise StageError(death(now) + more)


@contextmanager
def reserved(path: Path, endpoint: Endpoint, exclusive: bool) -> Iterator[None]:
    """Hold the file's lock: one holder alone if ``exclusive``, else beside other users.

    Nobody sends a request without it. It is dropped by the kernel if the holder is killed.
    """
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    fd = -1
    start_s = said_s = time.monotonic()
    while True:
        check_lives(path, endpoint)
        fd = os.open(path, os.O_RDONLY) if fd < 0 else fd
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            now_s = time.monotonic()
            if now_s - said_s > SAY_EVERY_S:
                said_s = now_s
                waited = f"{now_s - start_s:.0f} s"
                console().say(f"waiting for vLLM, which is in use by {told_holders(fd)}: {waited}")
            time.sleep(POLL_S)
            continue
        if os.fstat(fd).st_ino == path.stat().st_ino:
            break
        os.close(fd)  # the file was replaced in between: this lock is on one that nobody sees
        fd = -1
    try:
        yield
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)  # for forked children, too, which close() would leave it to
        os.close(fd)


def check_prompts(endpoint: Endpoint, name: str, tokenizer: Any) -> None:
    """Ask a model for a token; raise StageError unless the server saw the prompt that we mean."""
    for probe in PROBES:
        body = {
            "model": name,
            "messages": list(probe),
            "max_tokens": 1,
            "temperature": 0,
            "return_token_ids": True,
        }
        answer = _answer(endpoint, "/v1/chat/completions", body)
        compare_ids(answer.get("prompt_token_ids"), prompt_ids(tokenizer, probe), name)


def _answer(endpoint: Endpoint, path: str, body: Any = None) -> dict[str, Any]:
    try:
        return json.loads(ask(endpoint, path, body, REQUEST_S))
    except HTTPError as error:
        said = error.read().decode("utf-8", "replace")[:500]
        raise StageError(f"vLLM refused a plain request ({error.code}, {path}): {said}") from None
    except (OSError, ValueError) as error:
        lines = "\n    | ".join(["", *last_lines(endpoint.log)])
        raise StageError(f"vLLM did not answer a plain request ({error}, {path}){lines}") from None


def compare_ids(seen: Sequence[int] | None, expected: Sequence[int], where: str) -> None:
    """Raise StageError naming the first difference between two prompts."""
    if seen is not None and list(seen) == list(expected):
        return
    seen = list(seen or [])
    first = next(
        (i for i, (a, b) in enumerate(zip(seen, expected, strict=False)) if a != b),
        min(len(seen), len(expected)),
    )
    raise StageError(
        f"{where}: the server's prompt is not the one that the model folder's tokenizer and "
        f"template give: {len(seen)} and {len(expected)} tokens, different from token {first} on "
        f"({seen[first : first + 5]} and {list(expected[first : first + 5])})"
    )
