"""Who replies to requests: an API elsewhere, or a base of the config that this workflow serves.

A backend is a context manager. ``identity`` names it in the digest of a request: the same
identity and the same request have the same reply. ``complete`` sends a chat completion, from any
thread. ``fatal`` says of a failed request why no other one can succeed either.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sftflow.apiclient import local_client, openai_client, told
from sftflow.completions import refuse_echo
from sftflow.devices import vllm_package
from sftflow.manifests import SUMS, sha256_file, sha256_json
from sftflow.serving import Server, served, witnessed
from sftflow.stage import StageError

if TYPE_CHECKING:
    import openai

LENGTH_KEYS = ("max_tokens", "max_completion_tokens")  # one limit, by its old and its new name


class Unaskable(Exception):
    """A conversation that a base can't be asked, whatever is tried: a sentence."""


class RemoteAPI:
    """An OpenAI-compatible API at an address."""

    def __init__(
        self, who: str, base_url: str, api_key_env: str | None, max_retries: int, timeout_s: float
    ) -> None:
        """Take the address and the name of the variable with the key; ``who``: openai_client."""
        self.identity = base_url
        self._client = openai_client(who, base_url, api_key_env, max_retries, timeout_s)
        self._key = self._client.api_key if api_key_env else None

    def __enter__(self) -> RemoteAPI:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def complete(self, **body: Any) -> Any:
        """Return what was replied; raise openai.OpenAIError, or ValueError for no JSON."""
        said = self._client.chat.completions.create(**body)
        refuse_echo(said, self._key)
        return said

    def fatal(self, error: Exception) -> str | None:
        """Return the clause about an error that no other request would escape, else None."""
        if getattr(error, "status_code", None) in (401, 403, 404):
            return f"{told(error)}; check base_url, model and the key"
        return None


class ServedBase:
    """A base behind vLLM, started for those who make or judge data with it.

    The server is waited for at the first request: where every reply is known, nobody waits.
    """

    def __init__(
        self,
        path: Path,
        model: Path,
        serve: Mapping[str, Any],
        max_retries: int,
        timeout_s: float,
    ) -> None:
        """Take the server's file, the model folder and what of the server shapes replies."""
        self.identity = served_identity(model, serve)
        self.path, self.model = path, model
        self.max_retries, self.timeout_s = max_retries, timeout_s
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._client: openai.OpenAI | None = None

    def __enter__(self) -> ServedBase:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """See that it is the same server still; raise StageError, with its log, if it is not."""
        self._stack.__exit__(kind, error, trace)

    def complete(self, **body: Any) -> Any:
        """Return a chat completion of what fits behind the prompt.

        Raises Unaskable, StageError if the server does not get ready, openai.OpenAIError.
        """
        with self._lock:  # of the tokenizer as well, which is not for several threads
            server = self._ready()
            room = server.max_model_len - self._prompt_tokens(server, body["messages"])
        if room < 1:
            raise Unaskable(
                f"the prompt leaves no room for a reply: it has {server.max_model_len - room:,} "
                f"tokens, {server.model} takes {server.max_model_len:,} in all"
            )
        body |= {key: min(body[key], room) for key in LENGTH_KEYS if key in body}
        if "seed" in body:
            body["seed"] = own_seed(body["seed"], body["messages"])
        return self._client.chat.completions.create(**body)

    def _prompt_tokens(self, server: Server, messages: list[dict[str, str]]) -> int:
        from jinja2 import TemplateError

        try:
            return len(server.prompt_ids(messages))
        except TemplateError as error:
            raise Unaskable(f"the chat template of {server.model} refuses it: {error}") from None

    def _ready(self) -> Server:
        if self._server is None:
            server = self._stack.enter_context(served(self.path, self.model))
            self._client = local_client(
                server.url, server.api_key, self.max_retries, self.timeout_s
            )
            self._stack.callback(self._client.close)
            self._server = server
        return self._server

    def fatal(self, error: Exception) -> str | None:
        """Return the clause about a server that is gone; None if it lives."""
        import openai

        if self._server is None or not isinstance(error, openai.APIConnectionError):
            return None
        try:
            with witnessed(self.path, self._server.endpoint):
                raise error
        except StageError:
            return f"the server of {self._server.model} is gone"
        except openai.APIConnectionError:
            return None


def own_seed(seed: int, messages: list[dict[str, str]]) -> int:
    """Return the seed (32 bits) of one prompt.

    vLLM draws by a request's seed alone. With one seed for all, prompts that leave a base equally
    unsure were answered alike: a nearly random one gave 8 prompts the same answer (measured).
    """
    return int(sha256_json([seed, messages])[:8], 16)


def served_identity(model: Path, serve: Mapping[str, Any]) -> str:
    """Return a digest of what replies rest on beside the request.

    That is the model's files, the chat template among them, the engine's settings and its
    version. Two states of one base have two.
    """
    package = vllm_package()
    engine = [package, version(package)]
    return f"served:{sha256_json([sha256_file(model / SUMS), dict(serve), engine])}"
