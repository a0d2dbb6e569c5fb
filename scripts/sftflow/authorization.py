"""A guard in front of all of vLLM's endpoints: runs inside vLLM's API server.

vLLM asks for its API key under /v1 only: /invocations answers with a completion, /tokenize,
/metrics and /scale_elastic_ep work without one (vllm#58144), and on a shared machine every
user reaches the loopback address.
"""

from __future__ import annotations

import hmac
import os
from typing import Any

OPEN = ("/health", "/ping")  # say nothing but that the process runs


class RequireKey:
    """ASGI middleware that refuses a request without this start's key."""

    def __init__(self, app: Any) -> None:
        """Wrap ``app``; the key is the one that vLLM itself reads."""
        self.app = app
        self.expected = f"Bearer {os.environ['VLLM_API_KEY']}".encode()

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"")
        if hmac.compare_digest(given, self.expected):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "no valid key"}'})
