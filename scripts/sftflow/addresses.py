"""Addresses of OpenAI-compatible endpoints, looked at before anything is sent there."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

METHODS = ("/chat/completions", "/completions", "/models")  # what a client adds by itself


def address_faults(key: str, address: str | None) -> Iterator[str]:
    """Yield what is wrong with a base_url that begins with http:// or https://; None is none."""
    if address is None:
        return
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port  # raises for a port that can't be one
    except ValueError:
        host = None
    if not host or any(c.isspace() or not c.isprintable() for c in address):
        yield f"{key}: names no host and port that there can be; write http://host:8000/v1"
        return
    if parts.username or parts.password:
        yield f"{key}: holds a name or password; put the key into an environment variable"
    for method in METHODS:
        if parts.path.rstrip("/").endswith(method):
            yield f"{key}: ends with {method}, which is added to it; leave that out"
            return
