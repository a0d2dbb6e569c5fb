import json

from sftflow.records import RECORD, REJECTED, message, write_table
from sftflow.rejections import PAIRS, PROMPTS, Rejections, read_rejections


def said(prompt, answer):
    return {"messages": [message("user", prompt), message("assistant", answer)], "tools": None}


def rejected(row, step, reason, detail, content, source="my data"):
    place = {"source": source, "file": "a b.jsonl", "row": row, "stage": "clean_dataset"}
    raw = content if isinstance(content, str) else json.dumps(content)
    return {**place, "step": step, "reason": reason, "detail": detail, "raw": raw}


def record(row, content):
    return {"id": f"{row:016x}", "source": "my data", "file": "a b.jsonl", "row": row, **content}


def found(tmp_path, gone, stayed, conflicts):
    write_table(tmp_path / "rejected.parquet", gone, REJECTED)
    write_table(tmp_path / "records.parquet", stayed, RECORD)
    return read_rejections(
        [tmp_path / "rejected.parquet"], tmp_path / "records.parquet", ["my data", "my"], conflicts
    )


def test_a_duplicate_stands_beside_the_row_that_it_repeats(tmp_path):
    gone = [
        rejected(5, "near", "near_duplicate", "0.9 like my data a b.jsonl:2", said("p", "x")),
        rejected(6, "exact", "duplicate", "says the same as my data a b.jsonl:5", said("p", "x")),
        rejected(7, "exact", "duplicate", "says the same as my data a b.jsonl:99", said("p", "x")),
    ]
    near, exact = found(tmp_path, gone, [record(2, said("p", "kept"))], {}).pairs()
    assert (near["step"], near["rows"]) == ("near", 1)
    assert near["pairs"][0]["gone"]["place"] == "my data a b.jsonl:5"
    assert near["pairs"][0]["kept"]["messages"][1]["open"] == "kept"
    assert exact["pairs"][0]["kept"]["left_in"] == "near"  # its twin went in another step
    assert exact["pairs"][1]["kept"] is None


def test_conflicting_answers_stand_beside_each_other(tmp_path):
    gone = [
        rejected(1, "conflicts", "conflict", "its prompt has 3 different answers", said("P ", "x")),
        rejected(2, "conflicts", "conflict", "its prompt has 3 different answers", said("p", "y")),
        rejected(3, "conflicts", "conflict", "its prompt has 2 different answers", said("q", "z")),
    ]
    kept = [record(8, said("p", "w"))]
    (one,) = found(tmp_path, gone, kept, {"keep": "majority"}).conflicts()
    answers = [(a["message"]["open"], a["kept"]) for a in one["answers"]]
    assert answers == [("x", False), ("y", False), ("w", True)]
    (one,) = found(tmp_path, gone, kept, {"keep": "none"}).conflicts()
    assert [a["kept"] for a in one["answers"]] == [False, False]


def test_the_system_prompt_is_asked_as_the_step_asked_it():
    def with_system(text, answer):
        return {
            **said("p", answer),
            "messages": [message("system", text), *said("p", answer)["messages"]],
        }

    gone = [
        rejected(i, "conflicts", "conflict", "", with_system(text, text))
        for i, text in enumerate("ab")
    ]
    for ignored, prompts in ((True, 1), (False, 0)):
        rejections = Rejections(["my data"], {"ignore_system": ignored})
        for row in gone:
            rejections.add(row)
        assert len(rejections.conflicts()) == prompts


def test_reasons_are_counted_and_what_is_shown_is_bounded():
    rejections = Rejections(["my data"], {})
    for i in range(50):
        same = "says the same as my data a b.jsonl:1"
        rejections.add(rejected(i, "exact", "duplicate", same, said("p", "x")))
        rejections.add(rejected(i, "conflicts", "conflict", "", said(f"p{i % 25}", f"{i}")))
        rejections.add(rejected(i, None, "bad_json", "no JSON", "{", source="other"))
    groups = {g["reason"]: g for g in rejections.groups()}
    assert [g["rows"] for g in groups.values()] == [50, 50, 50]
    assert all(len(g["examples"]) == 3 for g in groups.values())
    assert len(rejections.pairs()[0]["pairs"]) == PAIRS
    assert len(rejections.conflicts()) == PROMPTS
    assert rejections.by_source == {"my data": 100}  # what was never read counts elsewhere
