"""Files that can't be read: one sentence that names the file, the place and what to do."""

import gzip
import os

import pytest
from reader_fixture import TWO, jsonl, read, spec

from sftflow import rawfiles
from sftflow.digests import Digests
from sftflow.notes import Notes
from sftflow.readers import read_source
from sftflow.stage import StageError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,a\n1,2\n", "column 'a' twice"),
        ("a;b\n1;2\n", "correct `delimiter`"),
    ],
)
def test_csv_headers_that_stop(tmp_path, text, message):
    with pytest.raises(StageError, match=message):
        read(tmp_path, text, "raw.csv", delimiter=",")


@pytest.mark.parametrize("encoding", ["klingon", "rot13", "base64", "a\0b"])
def test_unknown_encodings(tmp_path, encoding):
    with pytest.raises(StageError, match="is unknown"):
        read(tmp_path, jsonl(TWO), encoding=encoding)


def test_the_place_of_a_bad_byte_far_into_the_file(tmp_path):
    good = jsonl([{"a": "x" * 90}]) * 30_000  # 3 MB: more than one piece
    with pytest.raises(StageError, match=rf"raw.jsonl:30001: 0xFF at byte {len(good) + 2}"):
        read(tmp_path, good + b'{"\xff": 1}\n')


def test_a_decompression_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(rawfiles, "BOMB_BYTES", 1 << 22)
    packed = gzip.compress(b" " * (1 << 23))
    with pytest.raises(StageError, match=r"raw\.jsonl\.gz: .* bytes expand to more than 5,"):
        read(tmp_path, packed, "raw.jsonl.gz")
    # As much that was not packed so tightly is data.
    rows = jsonl([{"a": f"{i * 7919 % 10007}" * 16} for i in range(1 << 16)])
    found, _ = read(tmp_path, gzip.compress(rows, 1), "raw.jsonl.gz")
    assert len(rows) > 1 << 22 and len(found) == 1 << 16


def test_paths_that_stop(tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path / "none.json", "no such file"),
        (tmp_path / "*.json", "no file matches"),
        (tmp_path / "empty", "no data files"),
        (tmp_path / "pipe", "neither a file nor a folder"),
        ("a\0b", "no such file"),
    ]:
        with pytest.raises(StageError, match=message):
            list(read_source(spec(path), Notes()))


def test_a_pipe_among_the_files_of_a_folder_is_not_opened(tmp_path):
    """Nobody writes to it: opened, it would hold the stage for ever."""
    (tmp_path / "raw.jsonl").write_bytes(jsonl(TWO))
    os.mkfifo(tmp_path / "pipe.jsonl")
    notes = Notes()
    assert len(list(read_source(spec(tmp_path), notes))) == 2
    assert notes["other_files_ignored"] == 1
    assert Digests(tmp_path / "digests.json").file(tmp_path / "pipe.jsonl") is None


def test_a_link_to_a_folder_above_gives_no_row_twice(tmp_path):
    (tmp_path / "data/elsewhere").mkdir(parents=True)
    (tmp_path / "data/raw.jsonl").write_bytes(jsonl(TWO))
    (tmp_path / "data/elsewhere/circle").symlink_to("..")
    (tmp_path / "linked").symlink_to("data")  # a link that is no circle is followed
    for pattern, rows in [("data/**/*.jsonl", 2), ("linked/**/*.jsonl", 2), ("**/raw.jsonl", 4)]:
        assert len(list(read_source(spec(tmp_path / pattern), Notes()))) == rows


def test_a_name_can_not_steer_a_terminal(tmp_path):
    name = "a\n\x1b[2J.jsonl"
    with pytest.raises(StageError, match=r"^a\\n\\x1b\[2J.jsonl: the file is empty$"):
        read(tmp_path, b"", name)
    rows, _ = read(tmp_path, jsonl(TWO), name)
    assert {row.file for row in rows} == {"a\\n\\x1b[2J.jsonl"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path):
    path = tmp_path / "raw.jsonl"
    path.write_bytes(jsonl(TWO))
    path.chmod(0)
    with pytest.raises(StageError, match="Permission denied"):
        list(read_source(spec(path), Notes()))
