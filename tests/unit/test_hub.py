"""The hub as a server on this machine: what it refuses, and a download that is cut off."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest

from sftflow import hub
from sftflow.stage import StageError

REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 20_000  # 5 MB
FILES = {"config.json": b'{"model_type": "qwen2"}', "model.safetensors": WEIGHTS}


def entry(name):
    """Return what the hub's list of files says of one."""
    content = FILES.get(name, b"")
    found = {"type": "file", "path": name, "size": len(content)}
    found["oid"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    if name.endswith(".safetensors"):
        oid = hashlib.sha256(content).hexdigest()
        found["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 134}
    return found


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's protocol as a download of one revision needs."""

    cut_off, refuse, damage = False, None, None
    ranges: ClassVar[list[int]] = []

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.refuse:
            code, headers = self.refuse
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path.startswith("/api/"):
            listed = [*FILES, "evil.py", "pytorch_model.bin"]
            self.say(json.dumps([entry(name) for name in listed]).encode())
            return
        name = self.path.rsplit("/", 1)[-1]
        self.say(FILES[name], name)

    def say(self, content, name=None):
        first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        if name and first:
            self.ranges.append(first)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut_off and name == "model.safetensors":
            self.wfile.write(content[first:2_000_000])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        if self.damage and name == self.damage:
            content = content.replace(b"2", b"3")  # of the same length
        self.wfile.write(content[first:])


@pytest.fixture
def served(monkeypatch):
    """Let huggingface_hub ask a server on this machine; return its class, to be told what to do."""
    from huggingface_hub import constants

    class Own(Hub):
        ranges: ClassVar[list[int]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda _s: None)  # between tries
    yield Own
    server.shutdown()
    server.server_close()


def test_a_download_that_is_cut_off_goes_on(served, tmp_path, monkeypatch):
    """What had come stays, in the folder of the job, and only the rest is asked for again."""
    served.cut_off = True
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 18)
    with pytest.raises(StageError, match="download of hub model a/b was cut off") as error:
        with hub.fetched_model("a/b", REVISION, False, tmp_path):
            raise AssertionError("half a model was given out")
    assert "\n" not in str(error.value)
    served.cut_off = False
    with hub.fetched_model("a/b", REVISION, False, tmp_path) as folder:
        assert {path.name for path in folder.iterdir()} == set(FILES)  # no code, no pickle
        assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert served.ranges and max(served.ranges) > 1_000_000
    assert not list((tmp_path / ".hub").iterdir())


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_came_otherwise_than_the_hub_has_it_is_fetched_anew(served, tmp_path, name):
    """A proxy or a disk changed it; its length is right, so the library takes it."""
    served.damage = name
    with pytest.raises(StageError, match=f"{name} of hub model a/b came otherwise") as error:
        hub.download("a/b", REVISION, False, tmp_path)
    assert "\n" not in str(error.value)
    served.damage = None
    folder = Path(hub.download("a/b", REVISION, False, tmp_path))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


@pytest.mark.parametrize(
    ("code", "headers", "sentence"),
    [
        (401, {"X-Error-Code": "GatedRepo"}, "is gated: accept its licence .* and set HF_TOKEN"),
        (401, {"X-Error-Code": "RepoNotFound"}, "there is no hub model a/b, or it is private"),
        (404, {"X-Error-Code": "RevisionNotFound"}, f"has no revision {REVISION}"),
        (403, {}, "the hub refused a/b: .*403"),
        (404, {}, "the hub refused a/b: .*404"),
        (429, {}, "the hub refused a/b: .*429"),
        (500, {}, "the hub refused a/b: .*500"),
        (503, {}, "the hub refused a/b: .*503"),
    ],
)
def test_what_the_hub_refuses(served, tmp_path, code, headers, sentence):
    served.refuse = (code, headers)
    with pytest.raises(StageError, match=sentence) as error:
        hub.download("a/b", REVISION, False, tmp_path)
    assert "\n" not in str(error.value)


def test_addresses_are_in_no_log_and_no_sentence(served, tmp_path, monkeypatch, caplog):
    """A mirror's may hold a password, and those that the hub sends one on to hold signatures."""
    from huggingface_hub import constants

    caplog.set_level("INFO")  # as in a stage
    planted = constants.ENDPOINT.replace("://", "://me:planted@")
    monkeypatch.setattr(constants, "ENDPOINT", planted)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        planted + "/{repo_id}/resolve/{revision}/{filename}",
    )
    with hub.fetched_model("a/b", REVISION, False, tmp_path) as folder:
        assert (folder / "config.json").exists()
    for code in (400, 503):  # the second is asked again, with a line for each time
        served.refuse = (code, {})
        with pytest.raises(StageError) as error:
            hub.download("a/b", REVISION, False, tmp_path)
        assert "planted" not in str(error.value)
    assert "HTTP Error 503 thrown" in caplog.text and "planted" not in caplog.text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("500 for url 'https://me:key@h/a/b?sig=x'", "500 for url 'https://h/a/b'"),
        ("no (https://h/a#t).", "no (https://h/a)."),
        ("nothing here", "nothing here"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(said, shown):
    assert hub.bare_addresses(said) == shown
