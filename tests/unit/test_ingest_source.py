"""The stage from raw files to records, as it is called."""

import json
import shutil

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_fixture import GOOD, ingest, lines

from sftflow.records import RECORD, REJECTED, read_rows
from sftflow.stage import StageError


def test_a_record_and_a_rejected_row(tmp_path):
    bad = {"instruction": "x", "output": 7}
    records, rejected, manifest = ingest(tmp_path, lines(GOOD, bad))
    assert records[0] == {
        "id": records[0]["id"],
        "source": "raw",
        "file": "raw.jsonl",
        "row": 1,
        "messages": [
            {"role": r, "content": c, "reasoning": None, "tool_calls": None, "weight": None}
            for r, c in [("user", "Say hi."), ("assistant", "Hi!")]
        ],
        "tools": None,
        "group": None,
        "tags": None,
    }
    assert rejected[0]["row"] == 2
    assert rejected[0]["reason"] == "not_text"
    assert "the number" in rejected[0]["detail"] or "a number (7)" in rejected[0]["detail"]
    assert json.loads(rejected[0]["raw"]) == bad
    assert manifest["counts"]["characters"] == len("Say hi.Hi!")
    assert manifest["counts"]["formats"] == {"alpaca": 1}
    assert pq.read_schema(tmp_path / "out" / "records.parquet").equals(RECORD)
    assert pq.read_schema(tmp_path / "out" / "rejected.parquet").equals(REJECTED)


def test_formats_may_be_mixed_in_one_file(tmp_path):
    rows = [
        GOOD,
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    ]
    rows.append({"question": "q", "answer": "a", "id": 7})
    _, _, manifest = ingest(tmp_path, lines(*rows))
    assert manifest["counts"]["formats"] == {"alpaca": 1, "messages": 1, "prompt_completion": 1}
    assert manifest["counts"]["warnings"]["column_ignored:id"] == {
        "count": 1,
        "first": "raw.jsonl:3",
    }


def test_what_looks_wrong_is_counted(tmp_path):
    texts = ["caf\u00c3\u00a9", "Dear {{name}},", "<p>x</p>", "a\u200bb", "<|im_end|>", "bell\x07"]
    _, _, manifest = ingest(tmp_path, "\ufeff" + lines(*({**GOOD, "output": t} for t in texts)))
    assert set(manifest["counts"]["warnings"]) == {
        "bom",
        "mojibake",
        "placeholder",
        "html",
        "invisible_characters",
        "control_token",
        "control_characters",
    }


@pytest.mark.parametrize(
    "text", ["Ça alors, café à 5 €", "你好，世界", "Füße – “quoted”", "a < b && c > d", "x² ± ½"]
)
def test_good_text_raises_no_suspicion(tmp_path, text):
    _, _, manifest = ingest(tmp_path, lines({**GOOD, "output": text}))
    assert manifest["counts"]["warnings"] == {}


def test_too_many_rejected(tmp_path):
    bad = {"instruction": "x", "output": None}
    with pytest.raises(StageError) as error:
        ingest(tmp_path, lines(GOOD, bad, bad, "nonsense"))
    said = str(error.value)
    assert "3 of 4 rows rejected, more than max_rejected_fraction 0.5" in said
    assert "2 null_text (e.g. raw.jsonl:2: the answer is null)" in said
    left = tmp_path / "out" / "rejected-of-failed-run.parquet"
    assert str(left) in said
    assert len(list(read_rows(left))) == 3
    assert not (tmp_path / "out" / "manifest.json").exists()
    ingest(tmp_path, lines(GOOD, bad, bad, "nonsense"), max_rejected_fraction=0.9)
    assert not left.exists()


def test_no_row_can_be_used(tmp_path):
    with pytest.raises(StageError, match=r"none of 1 rows can be used: 1 unknown_format"):
        ingest(tmp_path, lines({"a": "b"}), max_rejected_fraction=1)


def test_the_same_work_leaves_the_same_bytes(tmp_path):
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        ingest(tmp_path / place, lines(GOOD, {"instruction": "x"}, GOOD))
    for name in ("records.parquet", "rejected.parquet", "manifest.json", "SHA256SUMS"):
        one, two = (tmp_path / place / "out" / name for place in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), name


def test_a_changed_rejected_row_leaves_the_gate_as_it_is(tmp_path):
    ingest(tmp_path, lines(GOOD, {"instruction": "x"}))
    before = (tmp_path / "out" / "SHA256SUMS").read_text()
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    ingest(tmp_path, lines(GOOD, {"instruction": "y"}))
    assert (tmp_path / "out" / "SHA256SUMS").read_text() == before
    assert (tmp_path / "out" / "manifest.json").read_text() != manifest


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [json.dumps(GOOD), '{"a": 1}', "[]", "", "{", '{"messages": []}', "\x1f"]
            ),
            max_size=8,
        ).map(lambda rows: "\n".join(rows).encode()),
    ),
    name=st.sampled_from(["raw.jsonl", "raw.json", "raw.csv", "raw.parquet"]),
)
def test_garbage_is_counted_or_stops(tmp_path, data, name):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    try:
        ingest(tmp_path, data, name, max_rejected_fraction=1)
    except StageError as error:
        assert "\n" not in str(error)
