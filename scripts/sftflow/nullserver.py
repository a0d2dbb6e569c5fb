"""Answer completions at once with tokens that mean nothing: what is left is the client's time.

usage   nullserver.py   (python -I -S: standard library only)
writes  the port to stdout; ends at end-of-file on stdin, so when its parent is gone

The answer has the shape of vLLM's stream, a chunk with usage per token, and leaves in one
piece: whoever reads it is never kept waiting.
"""

from __future__ import annotations

import asyncio
import json
import sys

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def _event(data: str) -> bytes:
    body = f"data: {data}\n\n".encode()
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


def answer(prompt_tokens: int, output_tokens: int) -> bytes:
    """Return a whole response."""
    choice = {"index": 0, "text": " so", "logprobs": None, "finish_reason": None}
    chunk = {"id": f"cmpl-{'0' * 32}", "object": "text_completion", "created": 0, "model": "null"}
    chunk["choices"] = [{**choice, "stop_reason": None, "token_ids": None}]
    events = []
    for done in range(1, output_tokens + 1):
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": done}
        usage["total_tokens"] = prompt_tokens + done
        events.append(_event(json.dumps({**chunk, "usage": usage})))
    return HEAD + b"".join(events) + _event("[DONE]") + b"0\r\n\r\n"


async def serve_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection; each length's answer is made once."""
    ready: dict[tuple[int, int], bytes] = {}
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            asked = json.loads(await reader.readexactly(length))
            key = (len(asked["prompt"]), asked["max_tokens"])
            if key not in ready:
                ready[key] = answer(*key)
            writer.write(ready[key])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until stdin ends."""
    server = await asyncio.start_server(serve_client, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
