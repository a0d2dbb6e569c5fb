"""Stands in for vLLM's API server where a test is about its supervisor and its users.

It has a child, as vLLM has its engine. FAKE_VLLM says how it behaves: serve, never (never
healthy), exit (status 3 before it is up), taken (the port is taken at the first start).
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--host")
parser.add_argument("--port", type=int)
parser.add_argument("--served-model-name")
parser.add_argument("--lora-modules", nargs="*", type=json.loads, default=[])
args, _ = parser.parse_known_args()
behaviour = os.environ["FAKE_VLLM"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def allowed(self):
        if self.headers["Authorization"] == f"Bearer {os.environ['VLLM_API_KEY']}":
            return True
        self.answer({}, 401)
        return False

    def do_GET(self):
        if self.allowed():
            self.answer({"data": [{"id": args.served_model_name, "max_model_len": 64}]})

    def do_POST(self):
        if not self.allowed():
            return
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["model"] not in [args.served_model_name, *(m["name"] for m in args.lora_modules)]:
            self.answer({"error": {"message": f"The model {asked['model']} does not exist."}}, 404)
            return
        said = [len(m["content"]) for m in asked["messages"]]
        if said[-1] == 13:  # "connection cut"
            self.close_connection = True
            self.connection.close()
            return
        choice = {"message": {"content": asked["messages"][-1]["content"].upper()}}
        self.answer(
            {
                "prompt_token_ids": said,
                "choices": [{**choice, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": len(said), "completion_tokens": 1},
            }
        )

    def log_message(self, *_):
        pass


def engine(runs):
    runs.set()
    time.sleep(600)


def main():
    Path(os.environ["TMPDIR"], "socket").touch()
    context = multiprocessing.get_context("fork")
    runs = context.Event()
    context.Process(target=engine, args=(runs,), name="EngineCore").start()
    runs.wait()
    sys.stdout.write("fake engine up\n")
    sys.stdout.flush()
    if behaviour == "exit":
        os._exit(3)
    if behaviour == "never":
        time.sleep(600)
    if behaviour == "taken" and not (seen := Path(os.environ["FAKE_SEEN"])).exists():
        seen.touch()
        sys.stdout.write("OSError: [Errno 98] Address already in use\n")
        sys.stdout.flush()
        os._exit(1)
    ThreadingHTTPServer((args.host, args.port), Handler).serve_forever()
