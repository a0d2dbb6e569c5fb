"""Preference pairs: from a row of any form to a record, through cleaning and split."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import clean_dataset
import ingest_source
import split_dataset
from sftflow.configschema import fill_defaults, schema
from sftflow.jsontext import Refused
from sftflow.manifests import read_manifest
from sftflow.preference_rules import STEPS
from sftflow.preferences import preference
from sftflow.records import PAIR, RECORD, read_rows, record_schema
from sftflow.stage import StageError

SOURCE = {"system": None, "consecutive": "quarantine", "reasoning_tags": []}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).filter(str.strip)


def said(pair):
    """Return what a pair says: (role, content) of the prompt, then of the two answers."""
    return [(m["role"], m["content"]) for m in (*pair.messages, pair.rejected)]


def openai(role, content):
    return {"role": role, "content": content}


def sharegpt(role, content):
    return {"from": {"user": "human", "assistant": "gpt"}[role], "value": content}


@given(question=TEXT, first=TEXT, again=TEXT, chosen=TEXT, rejected=TEXT)
def test_every_form_of_a_pair_gives_the_same_record(question, first, again, chosen, rejected):
    if chosen == rejected:
        return
    turns = [("user", question), ("assistant", first), ("user", again)]
    good, bad = ("assistant", chosen), ("assistant", rejected)
    wanted = [*turns, good, bad]
    for turn in (openai, sharegpt):
        asked = [turn(*t) for t in turns]
        forms = [
            {"conversations": asked, "chosen": turn(*good), "rejected": turn(*bad)},
            {"prompt": asked, "chosen": [turn(*good)], "rejected": [turn(*bad)]},
            {"prompt": asked, "chosen": chosen, "rejected": rejected},
            {"chosen": [*asked, turn(*good)], "rejected": [*asked, turn(*bad)]},
            {
                "prompt": question,
                "chosen": [*asked, turn(*good)],
                "rejected": [*asked, turn(*bad)],
            },
        ]
        for form in forms:
            assert said(preference(form, SOURCE)) == wanted, form
    alpaca = {"instruction": again, "history": [[question, first]], "chosen": chosen}
    assert said(preference({**alpaca, "rejected": rejected}, SOURCE)) == wanted


def test_a_system_prompt_and_thinking_are_read_as_in_other_formats():
    row = {"system": "Be brief.", "question": "Why?", "chosen": "<think>so</think>Yes."}
    pair = preference({**row, "rejected": "No."}, {**SOURCE, "reasoning_tags": ["think"]})
    assert [m["role"] for m in pair.messages] == ["system", "user", "assistant"]
    assert (pair.messages[-1]["reasoning"], pair.messages[-1]["content"]) == ("so", "Yes.")
    assert pair.rejected["reasoning"] is None
    assert pair.unused == []


U, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
B = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "chosen": "a"}, "missing_field"),
        ({"prompt": "q", "chosen": "a", "rejected": None}, "null_text"),
        ({"prompt": "q", "chosen": " ", "rejected": "b"}, "blank_assistant"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "same_answers"),
        ({"chosen": "a", "rejected": "b"}, "no_prompt"),
        ({"prompt": "", "chosen": "a", "rejected": "b"}, "blank_user"),
        ({"prompt": "q", "chosen": 3, "rejected": "b"}, "not_text"),
        ({"prompt": "q", "chosen": [], "rejected": "b"}, "no_turns"),
        ({"chosen": [U, A], "rejected": [{**U, "content": "r"}, B]}, "no_shared_prompt"),
        (
            {"chosen": [U, A, U, A], "rejected": [U, A, {**U, "content": "r"}, B]},
            "no_shared_prompt",
        ),
        ({"chosen": [U, A], "rejected": "b"}, "invalid_pair"),
        ({"chosen": [U, A], "rejected": [U, B, U, A]}, "several_turns"),
        ({"prompt": "r", "chosen": [U, A], "rejected": [U, B]}, "prompt_mismatch"),
        ({"prompt": [U, A], "chosen": "c", "rejected": "d"}, "consecutive_roles"),
    ],
)
def test_what_is_no_pair_is_refused_with_its_reason(row, reason):
    with pytest.raises(Refused) as refused:
        preference(row, SOURCE)
    assert refused.value.reason == reason
    assert refused.value.detail


def ingest(folder, rows):
    """Read rows as a source of pairs; return its folder."""
    (folder / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = fill_defaults({"path": "x", "format": "preference"}, schema()["$defs"]["source"])
    spec = {**source, "source": "pairs", "path": str(folder / "raw.jsonl")}
    spec["max_rejected_fraction"] = 1
    out = folder / "pairs"
    argv = ["--spec", json.dumps(spec), "--records", str(out / "records.parquet")]
    argv += ["--rejected", str(out / "rejected.parquet")]
    ingest_source.main([*argv, "--manifest", str(out / "manifest.json")])
    return out


def clean(folder, source, *steps):
    """Run steps over a source; return what stays and what went."""
    filled = [fill_defaults(step, schema()["$defs"]["step"]) for step in steps]
    spec = {"dataset": "d", "sources": ["pairs"], "clean": filled, "max_rejected_fraction": 1}
    out = folder / "cleaned"
    argv = ["--spec", json.dumps(spec), "--sources", str(source)]
    argv += ["--records", str(out / "records.parquet")]
    argv += ["--rejected", str(folder / "rejected.parquet")]
    clean_dataset.main([*argv, "--manifest", str(out / "manifest.json")])
    kept, gone = (
        list(read_rows(p)) for p in (out / "records.parquet", folder / "rejected.parquet")
    )
    counts = read_manifest(out / "manifest.json")["counts"]
    assert counts["rows_in"] == len(kept) + len(gone)
    return kept, gone


def pair(prompt, chosen, rejected):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


LONG = "An answer of some length, number"
ROWS = [pair(f"Question number {i}?", f"{LONG} {i}.", f"No idea about {i}.") for i in range(12)]


def test_a_refused_row_is_kept_as_it_came(tmp_path):
    source = ingest(tmp_path, [*ROWS, {"prompt": "q", "chosen": "a", "rejected": "a"}])
    (gone,) = read_rows(source / "rejected.parquet")
    assert (gone["reason"], gone["row"]) == ("same_answers", 13)
    assert json.loads(gone["raw"]) == {"prompt": "q", "chosen": "a", "rejected": "a"}
    counts = read_manifest(source / "manifest.json")["counts"]
    assert (counts["rows_in"], counts["kept"], counts["formats"]) == (13, 12, {"preference": 12})
    assert record_schema(source / "records.parquet") is PAIR


@pytest.mark.parametrize("step", STEPS)
def test_every_step_for_pairs_leaves_good_pairs_as_they_are(tmp_path, step):
    more = {"language": {"languages": ["en"]}, "format": {}}.get(step, {})
    kept, gone = clean(tmp_path, ingest(tmp_path, ROWS), {"step": step, **more})
    assert gone == []
    assert [r["messages"][-1]["content"] for r in kept] == [row["chosen"] for row in ROWS]
    assert [r["rejected"]["content"] for r in kept] == [row["rejected"] for row in ROWS]


def test_steps_see_both_answers(tmp_path):
    rows = [
        pair("Which is it, please?", f"{LONG} 1.\r\n", "Both\u200b of them."),
        pair("Which is it, please?", "Short.", f"{LONG} 2."),
        pair("Which is it, please?", f"{LONG} 3.", "x" * 9000),
        pair("Which is it, please?", f"{LONG} 4.", f" {LONG} 4.\n"),
        pair("Which is it, please?", f"{LONG} 1.", "Both of them."),
        pair("Which is it, please?", f"{LONG} 1.", "No."),  # other rivals are no duplicates
    ]
    steps = ({"step": name} for name in ("normalize_text", "length", "exact_duplicates"))
    kept, gone = clean(tmp_path, ingest(tmp_path, rows), *steps)
    assert [r["row"] for r in kept] == [1, 6]
    assert kept[0]["messages"][-1]["content"] == f"{LONG} 1."
    assert kept[0]["rejected"]["content"] == "Both of them."
    assert len({r["id"] for r in kept}) == 2
    assert {r["row"]: (r["step"], r["reason"]) for r in gone} == {
        2: ("length", "short_chosen"),
        3: ("length", "long_rejected"),
        4: ("different_answers", "same_answers"),
        5: ("exact_duplicates", "duplicate"),
    }
    raw = json.loads(next(r for r in gone if r["row"] == 2)["raw"])
    assert (raw["messages"][-1]["content"], raw["rejected"]["content"]) == ("Short.", f"{LONG} 2.")


def test_opposite_preferences_conflict_and_several_answers_do_not(tmp_path):
    one, two, three = (f"{LONG} {i}." for i in (1, 2, 3))
    rows = [
        pair("Which is it?", one, two),
        pair("which is  it?", two.upper(), one),  # as a reader reads it, the other way round
        pair("Which is it?", one, three),
        pair("Which is it?", two, three),
        pair("And now?", two, one),
    ]
    kept, gone = clean(tmp_path, ingest(tmp_path, rows), {"step": "conflicts"})
    assert [r["row"] for r in kept] == [3, 4, 5]
    assert [(r["row"], r["reason"]) for r in gone] == [(1, "conflict"), (2, "conflict")]
    assert "another row prefers the answer that this one rejects" in gone[0]["detail"]
    kept, _ = clean(tmp_path, tmp_path / "pairs", {"step": "conflicts", "keep": "first"})
    assert [r["row"] for r in kept] == [1, 3, 4, 5]


def test_pairs_and_other_rows_are_no_dataset(tmp_path):
    from sftflow.records import message, write_table

    source = ingest(tmp_path, ROWS)
    said = {"messages": [message("user", "q"), message("assistant", "a")], "tools": None}
    other = {"id": "1", "source": "s", "file": "f", "row": 1, **said}
    write_table(tmp_path / "other/records.parquet", [other], RECORD)
    spec = {"dataset": "d", "sources": [], "clean": [], "max_rejected_fraction": 1}
    argv = ["--spec", json.dumps(spec), "--sources", str(source), str(tmp_path / "other")]
    argv += ["--records", str(tmp_path / "c/records.parquet")]
    argv += ["--rejected", str(tmp_path / "r.parquet")]
    with pytest.raises(
        StageError, match="preference pairs stand beside other rows in pairs, other"
    ):
        clean_dataset.main([*argv, "--manifest", str(tmp_path / "c/manifest.json")])


def test_a_split_leaves_pairs_whole_and_no_prompt_on_two_sides(tmp_path):
    rows = [copy.copy(row) for row in ROWS * 2]
    for i, row in enumerate(rows):
        row["rejected"] += f" ({i})"
    source = ingest(tmp_path, rows)
    spec = {"validation": 4, "test": 4, "seed": 0, "near_duplicates": None, "stratify": None}
    argv = ["--spec", json.dumps({"dataset": "d", "split": spec})]
    argv += ["--records", str(source / "records.parquet")]
    sides = ("train", "validation", "test")
    for side in sides:
        argv += [f"--{side}", str(tmp_path / f"d/{side}.parquet")]
    split_dataset.main([*argv, "--manifest", str(tmp_path / "d/manifest.json")])
    tables = {side: list(read_rows(tmp_path / f"d/{side}.parquet")) for side in sides}
    prompts = [{r["messages"][0]["content"] for r in table} for table in tables.values()]
    assert not (prompts[0] & prompts[1] or prompts[0] & prompts[2] or prompts[1] & prompts[2])
    written = [r["rejected"]["content"] for table in tables.values() for r in table]
    assert sorted(written) == sorted(row["rejected"] for row in rows)
