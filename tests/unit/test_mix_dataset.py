"""The stage that makes the rows which trainings read, as it is called."""

import json

import pyarrow.parquet as pq
import pytest

import mix_dataset
from sftflow.contamination import MATCHES
from sftflow.records import RECORD, content_id, message, open_table, read_rows, write_table
from sftflow.stage import StageError


def record(source, number):
    said = [message("user", f"{source} asks {number}"), message("assistant", f"it is {number}")]
    one = {"messages": said, "tools": None}
    return {"id": content_id(one), "source": source, "file": "f", "row": number, **one}


@pytest.fixture
def dataset(tmp_path):
    """Return a split dataset: 30 rows of mine, 200 of general, in row groups of 16."""
    folder = tmp_path / "d"
    folder.mkdir()
    rows = [record("mine", i) for i in range(30)] + [record("general", i) for i in range(200)]
    with open_table(folder / "train.parquet", RECORD, batch_rows=16) as table:
        for row in rows:
            table.add(row)
    write_table(folder / "validation.parquet", [record("mine", 99)], RECORD)
    return folder


def share(**given):
    return {"times": None, "rows": None, "ratio": None, "max_times": 4, "seed": 0, **given}


def run(dataset, mix, drop=False, name="mixed"):
    """Mix; return the rows to train on and the manifest."""
    spec = {"dataset": "d", "sources": ["mine", "general"], "mix": mix, "drop": drop}
    out = dataset / name
    argv = ["--spec", json.dumps(spec), "--dataset", str(dataset)]
    for option, file in (("train", "train"), ("validation", "validation"), ("rejected",) * 2):
        argv += [f"--{option}", str(out / f"{file}.parquet")]
    if drop:
        argv += ["--contamination", str(dataset / "contamination.parquet")]
    mix_dataset.main([*argv, "--manifest", str(out / "manifest.json")])
    rows = list(read_rows(out / "train.parquet"))
    return rows, json.loads((out / "manifest.json").read_text())


def contaminate(dataset, *rows):
    match = {"suite": "q", "task": "t", "doc": 3, "questions": 1, "coverage": 0.5}
    match |= {"span": "asks", "question": "who asks?"}
    places = ("id", "source", "file", "row")
    matches = [{**{k: row[k] for k in places}, **match} for row in rows]
    write_table(dataset / "contamination.parquet", matches, MATCHES)


def test_a_ratio_takes_as_many_and_counts_by_source(dataset):
    rows, manifest = run(dataset, {"general": share(ratio=0.5)})
    assert [r["source"] for r in rows] == ["mine"] * 30 + ["general"] * 15
    general = [r["row"] for r in rows[30:]]
    assert general == sorted(set(general))  # in the order of the input, none twice
    assert manifest["counts"] == {
        "rows_in": 230,
        "rejected": {},
        "left_out": 185,
        "rows": 45,
        "sources": {
            "mine": {"available": 30, "rows": 30, "left_out": 0, "repeated": 0},
            "general": {"available": 200, "rows": 15, "left_out": 185, "repeated": 0},
        },
    }
    validation = (dataset / "mixed/validation.parquet").read_bytes()
    assert validation == (dataset / "validation.parquet").read_bytes()


def test_rows_come_again_after_all_others_of_their_source(dataset):
    rows, manifest = run(dataset, {"mine": share(rows=70), "general": share(rows=20)})
    ids = [r["id"] for r in rows]
    assert len(set(ids)) == len(ids) == 90
    mine = [r["row"] for r in rows[:70]]
    assert mine[:60] == [*range(30), *range(30)]
    assert mine[60:] == sorted(set(mine[60:]))
    assert [i.split(".")[1] for i in ids[30:70]] == ["2"] * 30 + ["3"] * 10
    assert manifest["counts"]["sources"]["mine"]["repeated"] == 40
    assert all(r["messages"] == record(r["source"], r["row"])["messages"] for r in rows)


def test_the_same_mix_has_the_same_bytes_and_the_seed_decides(dataset):
    run(dataset, {"general": share(ratio=1)}, name="a")
    run(dataset, {"general": share(ratio=1)}, name="b")
    other, _ = run(dataset, {"general": share(ratio=1, seed=1)}, name="c")
    for file in ("train.parquet", "SHA256SUMS", "manifest.json"):
        assert (dataset / "a" / file).read_bytes() == (dataset / "b" / file).read_bytes()
    assert other != list(read_rows(dataset / "a/train.parquet"))


def test_rows_with_questions_go_with_their_reason_and_are_not_counted_as_available(dataset):
    bad = [record("mine", 4), record("general", 7)]
    contaminate(dataset, *bad, bad[0])
    rows, manifest = run(dataset, {"general": share(times=1)}, drop=True)
    assert len(rows) == 228
    assert not {r["id"] for r in bad} & {r["id"] for r in rows}
    counts = manifest["counts"]
    assert counts["rejected"] == {"decontaminate/benchmark_question": 2}
    assert counts["rows_in"] == counts["rows"] + 2 == 230
    assert counts["sources"]["mine"]["available"] == 29
    gone = list(read_rows(dataset / "mixed/rejected.parquet"))
    assert [(g["source"], g["row"], g["step"]) for g in gone] == [
        ("mine", 4, "decontaminate"),
        ("general", 7, "decontaminate"),
    ]
    assert gone[0]["detail"] == "holds 50% of question 3 of q/t: asks"
    assert json.loads(gone[0]["raw"])["messages"] == bad[0]["messages"]


def test_an_added_match_of_the_same_row_leaves_the_same_bytes(dataset):
    bad = record("mine", 4)
    contaminate(dataset, bad)
    run(dataset, {}, drop=True, name="a")
    contaminate(dataset, bad, bad)
    run(dataset, {}, drop=True, name="b")
    sums = [(dataset / n / "SHA256SUMS").read_text() for n in "ab"]
    assert sums[0] == sums[1]


def test_nothing_left_is_a_sentence(dataset):
    contaminate(dataset, *read_rows(dataset / "train.parquet"))
    with pytest.raises(StageError, match="every one of the 230 training rows"):
        run(dataset, {}, drop=True)
    contaminate(dataset, *(record("mine", i) for i in range(30)))
    with pytest.raises(StageError, match=r"mix\.mine: no row of this source is left"):
        run(dataset, {"mine": share(times=2)}, drop=True)


def test_row_groups_stay_small(dataset):
    run(dataset, {"general": share(times=30)})
    file = pq.ParquetFile(dataset / "mixed/train.parquet")
    assert file.metadata.num_rows == 6030
    assert file.metadata.row_group(0).num_rows == 4096
