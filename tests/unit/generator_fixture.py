"""A small OpenAI-compatible server for tests of made data, and the stage called on it."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import make_source
from sftflow.configschema import fill_defaults, schema
from sftflow.records import RECORD, message, read_rows, write_table

KEY = "test-key-of-nobody"


class Server(ThreadingHTTPServer):
    """Answers with ``reply(body)``; statuses or texts in ``plan`` come first."""

    daemon_threads = True

    def __init__(self, reply):
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.plan = reply, []
        self.bodies, self.keys = [], []
        self.lock = threading.Lock()

    def said(self, body):
        with self.lock:
            self.bodies.append(body)
            planned = self.plan.pop(0) if self.plan else None
        if isinstance(planned, int):
            return planned, f"no, {KEY}", "stop"
        text = self.reply(body) if planned is None else planned
        return 200, text.removesuffix("[cut]"), "length" if text.endswith("[cut]") else "stop"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(self.headers["Authorization"])
        status, text, end = self.server.said(body)
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": end, "message": message}
        usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
        said = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        said = {**said, "choices": [choice], "usage": usage}
        if status != 200:
            said = {"error": {"message": text}}
        data = b"<html>" if text == "GARBAGE" else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def run_server(reply):
    """Yield a server that runs until the test ends."""
    with Server(reply) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def asked(body):
    """Return the last message of a request."""
    return body["messages"][-1]["content"]


def seeds(folder, *talks):
    """Write (prompt, answer) pairs as an ingested source; return its path."""
    path = folder / "records.parquet"
    rows = [
        {
            "id": f"id{row}",
            "source": "seeds",
            "file": "seeds.jsonl",
            "row": row,
            "messages": [message("user", prompt), message("assistant", answer)],
            "tools": None,
        }
        for row, (prompt, answer) in enumerate(talks, 1)
    ]
    write_table(path, rows, RECORD)
    return path


def arguments(folder, server, path, method, limits=None, **more):
    """Return the arguments of the stage, defaults filled in."""
    url = f"http://127.0.0.1:{server.server_port}/v1"
    endpoint = {"base_url": url, "model": "m", "api_key_env": "MAKER_KEY"}
    entry = {"method": method, "from": "x", "endpoint": endpoint, "limits": limits or {}, **more}
    entry = fill_defaults(entry, schema()["$defs"]["made_source"])
    limits = {"api_key_env": entry["endpoint"].pop("api_key_env"), **entry.pop("limits")}
    spec = {k: v for k, v in entry.items() if k != "from"} | {"source": "new"}
    out = folder / "made"
    argv = ["--spec", json.dumps(spec), "--limits", json.dumps(limits), "--seeds", str(path)]
    argv += ["--made", str(out / "made.jsonl"), "--rejected", str(out / "rejected.parquet")]
    return [*argv, "--manifest", str(out / "manifest.json")]


def made(folder, server, path, method, limits=None, **more):
    """Run the stage; return (made rows, rejected rows, manifest)."""
    make_source.main(arguments(folder, server, path, method, limits, **more))
    out = folder / "made"
    rows = [json.loads(line) for line in (out / "made.jsonl").read_text().splitlines()]
    rejected = list(read_rows(out / "rejected.parquet"))
    manifest = json.loads((out / "manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["rows_in"] == len(rows) + len(rejected)
    assert (counts["kept"], sum(counts["rejected"].values())) == (len(rows), len(rejected))
    return rows, rejected, manifest
