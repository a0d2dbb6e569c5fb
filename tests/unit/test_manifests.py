import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow import manifests

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda below: st.lists(below) | st.dictionaries(st.text(), below),
    max_leaves=10,
)


def test_nothing_is_left_if_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("finished")
    with pytest.raises(RuntimeError), manifests.replacing(path) as part:
        part.write_text("half")
        raise RuntimeError
    assert path.read_text() == "finished"
    assert list(tmp_path.iterdir()) == [path]


def make(folder):
    folder.mkdir()
    (folder / "b.txt").write_text("b")
    (folder / "a.txt").write_text("a")
    return manifests.write_manifest(
        folder / "manifest.json",
        stage="x",
        spec={"k": 1},
        payloads=[folder / "b.txt", folder / "a.txt"],
        counts={"rows": 2},
    )


def test_the_same_output_leaves_the_same_bytes_anywhere(tmp_path):
    make(tmp_path / "one")
    make(tmp_path / "two")
    for name in ("manifest.json", "SHA256SUMS"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_sums_are_what_sha256sum_reads(tmp_path):
    make(tmp_path / "one")
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path / "one", check=False).returncode == 0


def test_a_broken_manifest_is_named(tmp_path):
    path = tmp_path / "manifest.json"
    for text in ("", "{", "[]", '{"schema": 99}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"manifest\.json"):
            manifests.read_manifest(path)


@given(JSON)
def test_canonical_json_is_json_and_does_not_depend_on_order(value):
    text = manifests.canonical_json(value)
    assert json.loads(text) == value
    assert manifests.canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_key_order_does_not_count(value):
    turned = dict(reversed(value.items()))
    assert manifests.sha256_json(value) == manifests.sha256_json(turned)
