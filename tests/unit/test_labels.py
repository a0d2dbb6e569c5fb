"""Group and tags of a row: from columns of any format, as text, never part of what is said."""

import datetime
import decimal
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps_fixture import run_step, talk
from test_ingest_source import ingest, lines

from sftflow.cleaning import STEPS
from sftflow.jsontext import Refused
from sftflow.labels import Labels, conversation_columns, label
from sftflow.stage import StageError

SAID = {
    "alpaca": {"instruction": "Say hi.", "output": "Hi!"},
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    "messages": {
        "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    },
    "prompt_completion": {"prompt": "Say hi.", "completion": "Hi!"},
    "columns": {"Frage": "Wer?", "Antwort": "Ich."},
}

MARKS = {"group": "g", "tags": ["a", "b"]}


def tags_of(columns, **row):
    return Labels({"tags": columns}).of(row)["tags"]


@pytest.mark.parametrize("kind", SAID)
def test_labels_of_every_format(tmp_path, kind):
    own = {"prompt": "Frage", "completion": "Antwort"} if kind == "columns" else {}
    rows = [
        {**SAID[kind], "session": 7, "topic": ["math", "sums"], "level": "hard"},
        {**SAID[kind], "other": 1},
    ]
    columns = {**own, "group": "session", "tags": ["topic", "level"]}
    (first, second), _, manifest = ingest(tmp_path, lines(*rows), columns=columns)
    assert (first["group"], first["tags"]) == ("7", ["math", "sums", "hard"])
    assert (second["group"], second["tags"]) == (None, None)
    assert first["id"] == second["id"]  # they say the same
    assert manifest["counts"]["formats"] == {kind: 2}
    assert set(manifest["counts"]["warnings"]) == {"column_ignored:other"}


def test_labels_of_csv_and_parquet(tmp_path):
    columns = {"group": "g", "tags": "t"}
    text = 'prompt,completion,g,t\na,b,7,"[""x"", ""y""]"\nc,d,,[draft]\n'
    read, _, _ = ingest(tmp_path, text, "raw.csv", columns=columns)
    assert [(r["group"], r["tags"]) for r in read] == [("7", ["x", "y"]), (None, ["[draft]"])]
    table = {"prompt": ["a", "c"], "completion": ["b", "d"], "g": [7.0, None], "t": [["x"], []]}
    pq.write_table(pa.table(table), tmp_path / "made.parquet")
    data = (tmp_path / "made.parquet").read_bytes()
    read, _, _ = ingest(tmp_path, data, "raw.parquet", columns=columns)
    assert [(r["group"], r["tags"]) for r in read] == [("7", ["x"]), (None, None)]


def test_a_source_that_names_none_has_nulls(tmp_path):
    (row,), _, _ = ingest(tmp_path, lines({**SAID["alpaca"], "group": "g", "tags": ["t"]}))
    assert (row["group"], row["tags"]) == (None, None)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"group": "sesion"},
            r"source raw: no row has the column 'sesion' of columns.group; the first row has "
            r"\[instruction, output, session\]: did you mean 'session'\?",
        ),
        ({"group": "session", "tags": ["session", "x"]}, r"column 'x' of columns.tags; .*name one"),
    ],
)
def test_a_column_that_no_row_has(tmp_path, columns, said):
    with pytest.raises(StageError, match=said):
        ingest(tmp_path, lines({**SAID["alpaca"], "session": 1}), columns=columns)


def test_a_column_of_nulls_is_there(tmp_path):
    rows = [{**SAID["alpaca"], "session": None}]
    (row,), _, _ = ingest(tmp_path, lines(*rows), columns={"group": "session"})
    assert row["group"] is None


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_a_group_that_is_none_is_kept_with_its_reason(tmp_path, value):
    bad = {**SAID["alpaca"], "g": value}
    rows = [{**SAID["alpaca"], "g": "a"}, bad]
    _, (gone,), _ = ingest(tmp_path, lines(*rows), columns={"group": "g"})
    assert (gone["row"], gone["reason"]) == (2, "invalid_group")
    assert gone["detail"].startswith("'g' is a")
    assert json.loads(gone["raw"]) == bad


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  a b\n", "a b"),
        (" ", None),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (math.nan, None),
        (1e300, "1e+300"),
        (True, "true"),
        (decimal.Decimal("1.50"), "1.50"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        ("e\u0301", "\u00e9"),  # one name, however it was composed
        ("客户甲", "客户甲"),
    ],
)
def test_what_a_label_is_as_text(value, text):
    assert label(value, "g", "group") == text


def test_tags_of_lists():
    assert tags_of("t", t=["a", None, " ", "a", 3]) == ["a", "3"]
    assert tags_of(["t", "u"], t="b", u=["a", "b"]) == ["b", "a"]  # the first is the stratum
    assert tags_of("t", t='["a", "b"]') == ["a", "b"]
    assert tags_of("t", t="[a, b") == ["[a, b"]
    assert tags_of("t", t=[]) is None
    with pytest.raises(Refused, match="'t' is an object"):
        tags_of("t", t=[{"name": "a"}])


def test_what_is_left_are_the_columns_of_the_conversation():
    named = {"prompt": "q", "completion": "a", "group": "g", "tags": ["t"]}
    assert conversation_columns(named) == {"prompt": "q", "completion": "a"}
    assert conversation_columns({"group": "g"}) is None
    assert conversation_columns(None) is None


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.dates(), st.none()))
def test_a_label_stays_what_it_is(value):
    text = label(value, "g", "group")
    assert text is None or text.strip()
    assert label(text, "g", "group") == text


@pytest.mark.parametrize("step", sorted(set(STEPS) - {"judge", "semantic_duplicates", "language"}))
def test_labels_survive_every_step(tmp_path, step):
    """Of those that need no model."""
    asked, answer = (
        "Write  to jo@example.org, café\u200b please?",
        "Sure! Here is it: a text of some <b>words</b>.",
    )
    records = [{**talk(f"{asked} {i}" * 2, f"{answer} {i}", row=i), **MARKS} for i in range(1, 4)]
    kept, _, _ = run_step(tmp_path, {"step": step}, records)
    assert kept
    assert all({key: row[key] for key in MARKS} == MARKS for row in kept)
