"""What an endpoint replied, whatever that was: a chat completion, or a sentence why it is none."""

from __future__ import annotations

from typing import Any

from sftflow.replycache import Reply

LEAST_KEY_CHARS = 8  # a shorter key could stand in any text


class NoCompletion(ValueError):
    """A reply that is no chat completion: a sentence of ours that quotes nothing of it."""


def refuse_echo(said: Any, key: str | None) -> None:
    """Raise NoCompletion if a reply holds the key that it was asked with: replies are kept."""
    if key and len(key) >= LEAST_KEY_CHARS and key in str(said):
        raise NoCompletion("the endpoint's reply holds the key that was sent to it")


def read_completion(digest: str, said: Any, most: tuple[int, int]) -> Reply:
    """Return a completion as a reply; raise NoCompletion for what is none.

    Where the endpoint tells no tokens, ``most`` are counted, of the prompt and of the reply.
    """
    choices = getattr(said, "choices", None)
    message = getattr(choices[0], "message", None) if choices else None
    text = getattr(message, "content", None) or ""
    if message is None or not isinstance(text, str):
        raise NoCompletion("the endpoint's reply is no chat completion")
    # Half of a surrogate pair, where a reply was cut within an emoji, can't be stored.
    text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    usage = getattr(said, "usage", None)
    told_of = (getattr(usage, key, None) for key in ("prompt_tokens", "completion_tokens"))
    prompt, completion = (
        n if isinstance(n, int) else bound for n, bound in zip(told_of, most, strict=True)
    )
    return Reply(digest, text, str(choices[0].finish_reason or ""), prompt, completion)
