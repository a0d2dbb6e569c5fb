"""Any bytes in any file that is read: a value, or the one error that its reader may raise."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sftflow.checkpoints import fault
from sftflow.config import load_config
from sftflow.configfile import ConfigFault, read_yaml
from sftflow.digests import Digests
from sftflow.embeddingfolders import check_embedding_folder
from sftflow.endpoint import last_lines, read_endpoint
from sftflow.manifests import read_manifest
from sftflow.modelfolders import read_json, tensor_shapes
from sftflow.portrait import read_portrait
from sftflow.promptfile import read_prompts
from sftflow.provenance import Basis, judge, read_record, record_path
from sftflow.ratings import read_sheet
from sftflow.stage import StageError
from sftflow.suites import task_settings
from sftflow.taskfiles import task_files
from sftflow.templatelimits import operators

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]\n"
    for below, name in zip("abcdefghi", "bcdefghij", strict=True)
)
NASTY = [
    b"",
    b"\xff\xfe\x00",
    b"[" * 1_200,
    b"a: &a [*a]\n",
    b"? {a: 1}\n: b\n",
    b"a: !!binary x\n",
    b"a: 2024-13-45\nb: 1e999\nc: 0x\n",
    b"1: 2\nnull: 3\n",
    b"task: t\ninclude: 5\n",
    b"task: t\ninclude: [[x]]\n",
    b'task: t\ninclude: "a\\0b"\n',
    b'{"messages": 5}\n',
    b'{"messages": [5]}\n',
    b'{"schema": 1, "url": 5}',
    b'{"weight_map": [1]}',
    b'{"files": ["a"]}',
    b'{"schema": 1, "outputs": 5}',
    b"{% if ** %}{{ 2 ** 3 }",
    BOMB.encode(),
]
CONTENT = st.one_of(
    st.sampled_from(NASTY),
    st.binary(max_size=120),
    st.text("{}[]:&*!#|>-\"' \n\tab1\u2028é", max_size=120).map(str.encode),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.floats(), st.text(max_size=5)),
        lambda below: st.one_of(
            st.lists(below, max_size=3),
            st.dictionaries(
                st.sampled_from(["task", "include", "messages", "schema", "sources", "runs"]),
                below,
                max_size=3,
            ),
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


def prompts(path):
    list(read_prompts(path))


def shards(path):
    path.rename(path.with_name("model.safetensors"))
    try:
        tensor_shapes(path.parent)
    finally:
        path.with_name("model.safetensors").unlink()


def index(path):
    path.rename(path.with_name("model.safetensors.index.json"))
    try:
        tensor_shapes(path.parent)
    finally:
        path.with_name("model.safetensors.index.json").unlink()


def sheet(suffix):
    def read(path):
        path.rename(path.with_suffix(suffix))
        read_sheet(path.with_suffix(suffix))

    return read


def modules(path):
    path.rename(path.with_name("modules.json"))
    check_embedding_folder(path.parent)


def checkpoint(path):
    path.rename(path.with_name("COMPLETE.json"))
    assert fault(path.parent), "garbage is no whole checkpoint"


def record(path):
    """A record that can't be read is none: the job is stale, and that is all."""
    with contextlib.chdir(path.parent):
        place = record_path("rule", {})
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
        found = read_record("rule", {})
        assert found is None or judge(found, Basis("", {}, {}), [], Digests("none"), ())


# reader -> what it may raise
READERS = {
    "yaml": (read_yaml, ConfigFault),
    "config": (lambda path: load_config([path]), ConfigFault),
    "prompts": (prompts, ValueError),
    "task files": (lambda path: task_files(path.parent), ()),
    "task": (task_settings, StageError),
    "manifest": (read_manifest, ValueError),
    "endpoint": (read_endpoint, StageError),
    "json of a model": (read_json, StageError),
    "index of a model": (index, StageError),
    "safetensors": (shards, StageError),
    "checkpoint": (checkpoint, ()),
    "record": (record, ()),
    "portrait": (read_portrait, StageError),
    "saved sheet of people": (sheet(".json"), StageError),
    "table of people": (sheet(".csv"), StageError),
    "parts of an embedding model": (modules, StageError),
    "digests": (Digests, ()),
    "log": (last_lines, ()),
    "template": (lambda path: operators(path.read_text(errors="replace")), ()),
}


@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=CONTENT)
def test_garbage_has_one_answer(reader, tmp_path, content):
    answer(reader, tmp_path, content)


@pytest.mark.parametrize("content", NASTY, ids=range(len(NASTY)))
@pytest.mark.parametrize("reader", READERS)
def test_what_has_been_thought_of(reader, tmp_path, content):
    answer(reader, tmp_path, content)


def answer(reader, folder, content):
    read, refused = READERS[reader]
    path = folder / "file.yaml"
    path.write_bytes(content)
    try:
        read(path)
    except refused as error:
        assert str(error)
        assert "Traceback" not in str(error)
