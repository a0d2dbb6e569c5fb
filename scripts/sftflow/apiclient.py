"""A client of an OpenAI-compatible endpoint, and its errors in words that give nothing away."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sftflow.completions import NoCompletion
from sftflow.stage import StageError

if TYPE_CHECKING:
    import openai


def openai_client(
    who: str, base_url: str, api_key_env: str | None, max_retries: int, timeout_s: float
) -> openai.OpenAI:
    """Return a client; its key comes from the environment variable of that name.

    ``who`` begins the sentence of a fault. The client tries 429, 5xx and broken connections
    again by itself, with growing pauses or as long as the server says.
    """
    parts = urlsplit(base_url)
    if parts.username or parts.password:
        raise StageError(
            f"{who}: base_url holds a password; name a variable in api_key_env instead"
        )
    key = os.environ.get(api_key_env, "").strip() if api_key_env else "none"
    if not key:
        raise StageError(
            f"{who}: the environment variable {api_key_env} is not set; it must hold the key of "
            f"{parts.hostname}"
        )
    if not (key.isascii() and key.isprintable()):  # no request could be sent, whatever is asked
        raise StageError(
            f"{who}: the environment variable {api_key_env} holds a character that no key has, "
            "such as a line end or a typographic quotation mark; set it anew"
        )
    return _client(base_url, key, max_retries, timeout_s)


def local_client(base_url: str, key: str, max_retries: int, timeout_s: float) -> openai.OpenAI:
    """Return a client of a server on this machine: no proxy stands before it."""
    import openai

    direct = openai.DefaultHttpxClient(trust_env=False)
    return _client(base_url, key, max_retries, timeout_s, http_client=direct)


def _client(
    base_url: str, key: str, max_retries: int, timeout_s: float, **more: Any
) -> openai.OpenAI:
    """Return a client that takes nothing from OpenAI's environment variables."""
    import openai

    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line per request
    return openai.OpenAI(
        base_url=base_url,
        api_key=key,
        organization="",
        project="",
        max_retries=max_retries,
        timeout=timeout_s,
        **more,
    )


def told(error: Exception) -> str:
    """Return an error without what the server echoes, which may hold the key."""
    if isinstance(error, NoCompletion):
        return str(error)
    status = getattr(error, "status_code", None)
    return f"HTTP {status}" if status else type(error).__name__
