"""The stages from sources to a split dataset and its report, as they are called."""

import json
import re

import pytest

import clean_dataset
import report_dataset
import split_dataset
from sftflow.dataflow import funnel
from sftflow.records import RECORD, REJECTED, content_id, message, read_rows, write_table
from sftflow.stage import StageError


def record(source, row, prompt, answer):
    said = {"messages": [message("user", prompt), message("assistant", answer)], "tools": None}
    return {"id": content_id(said), "source": source, "file": "f.jsonl", "row": row, **said}


def make_source(folder, rows):
    """Write what ingest_source would leave of ``rows``."""
    folder.mkdir(parents=True)
    records = [record(folder.name, i, *row) for i, row in enumerate(rows, 1)]
    write_table(folder / "records.parquet", records, RECORD)
    bad = {"source": folder.name, "file": "f.jsonl", "row": 99, "stage": "ingest_source"}
    bad |= {"step": None, "reason": "not_text", "detail": "a number", "raw": "<script>1</script>"}
    write_table(folder / "rejected.parquet", [bad], REJECTED)
    counts = {"rows_in": len(rows) + 1, "kept": len(rows), "rejected": {"not_text": 1}}
    counts |= {"formats": {"alpaca": len(rows)}, "warnings": {"bom": {"count": 1, "first": "f"}}}
    manifest = {"schema": 1, "settings": {}, "counts": counts}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def run(tmp_path, sources, clean, split, most=0.9, report=()):
    """Clean, split and report; return the dataset's folder."""
    data = tmp_path / "datasets" / "d"
    folders = [str(source) for source in sources]
    spec = {"dataset": "d", "sources": [s.name for s in sources], "clean": clean}
    argv = ["--spec", json.dumps({**spec, "max_rejected_fraction": most}), "--sources", *folders]
    argv += ["--records", str(data / "cleaned/records.parquet")]
    argv += ["--rejected", str(data / "rejected.parquet")]
    clean_dataset.main([*argv, "--manifest", str(data / "cleaned/manifest.json")])
    split = {"near_duplicates": 0.8, "stratify": None, **split}
    argv = ["--spec", json.dumps({"dataset": "d", "split": split})]
    argv += ["--records", str(data / "cleaned/records.parquet")]
    for side in ("train", "validation", "test"):
        argv += [f"--{side}", str(data / f"{side}.parquet")]
    split_dataset.main([*argv, "--manifest", str(data / "manifest.json")])
    argv = ["--spec", json.dumps(spec), "--cleaned", str(data / "cleaned"), "--sources", *folders]
    argv += ["--dataset", str(data), "--rejected", str(data / "rejected.parquet")]
    argv += ["--portrait", str(data / "portrait.json"), *report]
    report_dataset.main([*argv, "--html", str(data / "report.html")])
    return data


ROWS = [(f"Question number {i}?", f"The answer is {i}, and that is all.") for i in range(40)]
STEPS = [{"step": "normalize_text"}, {"step": "length"}, {"step": "exact_duplicates"}]
SPLIT = {"validation": 0.1, "test": 5, "seed": 0}


def test_from_sources_to_a_report(tmp_path):
    one = make_source(tmp_path / "sources" / "one", ROWS[:30])
    two = make_source(tmp_path / "sources" / "two", [*ROWS[25:], ("short", "too short")])
    data = run(tmp_path, [one, two], STEPS, SPLIT)
    manifest = json.loads((data / "cleaned/manifest.json").read_text())
    counts = manifest["counts"]
    assert counts["rows_in"] == 46  # 30 + 15 + 1
    assert counts["rejected"] == {"exact_duplicates/duplicate": 5, "length/short_prompt": 1}
    assert counts["sources"] == {"one": 30, "two": 16}
    assert counts["kept"] == 40
    gone = list(read_rows(data / "rejected.parquet"))
    assert {(row["step"], row["reason"]) for row in gone} == {
        ("exact_duplicates", "duplicate"),
        ("length", "short_prompt"),
    }
    assert "says the same as one f.jsonl:26" in {row["detail"] for row in gone}
    split = json.loads((data / "manifest.json").read_text())["counts"]
    assert (split["train"], split["validation"], split["test"]) == (31, 4, 5)
    prompts = [
        {row["messages"][0]["content"] for row in read_rows(data / f"{side}.parquet")}
        for side in ("train", "validation", "test")
    ]
    assert len(set.union(*prompts)) == sum(map(len, prompts)) == 40


def test_what_steps_find_is_in_the_manifest_and_secrets_are_nowhere(tmp_path):
    secret, address = "ghp_" + "a1B2" * 9, "jo.doe@example.org"
    rows = [*ROWS, (f"My token is {secret}", "Revoke it at once."), (f"I am {address}", "Hello!")]
    steps = [{"step": "secrets", "action": "drop"}, {"step": "personal_data"}]
    data = run(tmp_path, [make_source(tmp_path / "one", rows)], steps, SPLIT)
    manifest = json.loads((data / "cleaned/manifest.json").read_text())
    told = {step["step"]: step for step in manifest["counts"]["steps"]}
    place = {"rows": 1, "times": 1, "first": ["one f.jsonl:41"]}
    assert told["secrets"]["found"] == {"api_key": place}
    assert told["personal_data"]["found"]["email"]["first"] == ["one f.jsonl:42"]
    assert set(manifest["versions"]) == {"pyarrow", "detect-secrets", "phonenumbers"}
    (gone,) = read_rows(data / "rejected.parquet")
    assert (gone["step"], gone["row"]) == ("secrets", 41)
    assert "My token is <API_KEY_1>" in gone["raw"]
    left = [*read_rows(data / "cleaned/records.parquet"), gone, manifest]
    left.append((data / "report.html").read_text())
    assert not any(said in repr(one) for one in left for said in (secret, address))


def test_the_report_shows_rows_and_runs_nothing(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    rows = [*ROWS[:5], (evil, evil + " {{ 7*7 }}")]
    source = make_source(tmp_path / "one", rows)
    html = (
        run(tmp_path, [source], [], {"validation": 0, "test": 1, "seed": 3}) / "report.html"
    ).read_text()
    policy = "default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;; img-src data:"
    assert f'content="{policy}"' in html
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img" in html
    assert "{{ 7*7 }}" in html
    assert set(re.findall(r'src="([a-z]+:)', html)) == {"data:"}
    assert not re.findall(r"(?:href|src)=\"(?:https?:)?//", html)


def test_equal_rows_get_ids_of_their_own(tmp_path):
    source = make_source(tmp_path / "one", [ROWS[0]] * 3 + ROWS[1:3])
    data = run(tmp_path, [source], [], {"validation": 0, "test": 0, "seed": 0})
    ids = [row["id"] for row in read_rows(data / "train.parquet")]
    assert len(set(ids)) == 5
    assert ids[1:3] == [f"{ids[0]}-2", f"{ids[0]}-3"]


def test_cleaning_that_leaves_too_little_stops(tmp_path):
    source = make_source(tmp_path / "one", [("short", "x" * 30)] * 3 + ROWS[:1])
    with pytest.raises(
        StageError, match=r"3 of 4 rows rejected.*short_prompt \(e.g. one f.jsonl:1"
    ):
        run(tmp_path, [source], STEPS, SPLIT, most=0.5)
    assert (tmp_path / "datasets/d/rejected-of-failed-run.parquet").exists()


def test_funnel():
    sources = {"a": {"rows_in": 10, "kept": 8, "rejected": {"x": 2}}}
    cleaning = {"steps": [{"step": "length", "rows_out": 5, "changed": 1, "rejected": {"y": 3}}]}
    levels = funnel(sources, cleaning, {"train": 3, "validation": 2, "test": 0})
    assert [(level["rows"], level["lost"]) for level in levels] == [(10, 0), (8, 2), (5, 3), (3, 2)]
    assert levels[-1]["reasons"] == [("validation", 2)]


def test_the_funnel_goes_on_to_the_mix():
    source = {"a": {"rows_in": 10, "kept": 10, "rejected": {}}}
    mixed = {
        "rows": 6,
        "rejected": {"decontaminate/benchmark_question": 1},
        "left_out": 4,
        "sources": {"a": {"repeated": 1}},
    }
    split = {"train": 10, "validation": 0, "test": 0}
    last = funnel(source, {"steps": []}, split, mixed)[-1]
    assert (last["label"], last["rows"], last["repeated"]) == ("rows in the mix", 6, 1)
    assert last["reasons"] == [("left out of the mix", 4), ("benchmark_question", 1)]
