"""The cleaning steps near_duplicates and conflicts with near: who goes, who stays, what is said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.cleaning import cleaned
from sftflow.records import message
from sftflow.stage import StageError

LONG = (
    "Photosynthesis is the process by which green plants and some other organisms use sunlight to "
    "make foods from carbon dioxide and water, and it gives off oxygen as a by-product of this."
)
CHINESE = (
    "光合作用是绿色植物利用太阳光能把二氧化碳和水合成有机物并且释放出氧气的过程对地球生命很重要"
)


def record(prompt, answer, row=1, system=None, tools=None):
    turns = [message("user", prompt), message("assistant", answer)]
    if system:
        turns.insert(0, message("system", system))
    place = {"id": "", "source": "s", "file": "f.jsonl", "row": row}
    return {**place, "messages": turns, "tools": tools}


def run(folder, step, records):
    """Return (rows that stay, {row: (reason, detail)} of the others, the step's counts)."""
    gone = {}

    def refuse(_step, record, reason, detail):
        gone[record["row"]] = (reason, detail)

    stream, (book,) = cleaned(iter(records), [step], folder, refuse)
    kept = [r["row"] for r in stream]
    assert len(kept) + len(gone) == len(records) == book.rows_in
    assert list(folder.iterdir()) == []  # no temporary file stays
    return kept, gone, book.counts()


NEAR = {"step": "near_duplicates"}


def test_the_first_stays_and_is_named(tmp_path):
    records = [
        record("Explain photosynthesis.", LONG, 1),
        record("Explain gravity.", "Masses attract each other, and the more so the closer.", 2),
        record("EXPLAIN photosynthesis!", LONG.replace("green", "most"), 3),
    ]
    kept, gone, counts = run(tmp_path, NEAR, records)
    assert kept == [1, 2]
    # 35 tokens make 33 triples, of which one word in the middle changes 3: 30 / 36
    said = "nearly s f.jsonl:1: 83.3% of their 3-grams are shared"
    assert gone == {3: ("near_duplicate", said)}
    assert counts["rejected"] == {"near_duplicate": 1}
    assert not {"found", "totals"} & set(counts)


def test_chinese(tmp_path):
    records = [
        record("解释光合作用", CHINESE, 1),
        record("解释光合作用", CHINESE.replace("很重要", "极重要"), 2),
        record("解释重力", "两个有质量的物体互相吸引而且距离越近吸引力就越大", 3),
    ]
    kept, _, _ = run(tmp_path, NEAR, records)
    assert kept == [1, 3]


@pytest.mark.parametrize(("compare", "kept"), [("conversation", [1, 2]), ("prompt", [1])])
def test_what_is_compared(tmp_path, compare, kept):
    records = [
        record(LONG, "A first answer.", 1),
        record(LONG, "This is quite another one. " * 9, 2),
    ]
    assert run(tmp_path, {**NEAR, "compare": compare}, records)[0] == kept


@pytest.mark.parametrize(("ignore", "kept"), [(False, [1, 2, 4]), (True, [1, 4])])
def test_system_prompts_and_tools_must_be_the_same(tmp_path, ignore, kept):
    records = [
        record("Explain it.", LONG, 1, system="Be brief."),
        record("Explain it.", LONG, 2, system="Be a pirate."),
        record("Explain it.", LONG + " So.", 3, system="be  brief."),
        record("Explain it.", LONG, 4, system="Be brief.", tools="[{}]"),
    ]
    assert run(tmp_path, {**NEAR, "ignore_system": ignore}, records)[0] == kept


def test_a_long_shared_system_prompt_makes_nothing_alike(tmp_path):
    records = [
        record("Explain gravity.", "Masses attract each other.", 1, system=LONG * 20),
        record("Name a colour.", "Blue is a colour that many people like.", 2, system=LONG * 20),
    ]
    assert run(tmp_path, NEAR, records)[0] == [1, 2]


def test_the_outcome_is_the_same_each_time(tmp_path):
    records = [record(f"Question {i % 7}", LONG + f" {i % 5}" * (i % 3), i) for i in range(1, 700)]
    assert run(tmp_path, NEAR, records) == run(tmp_path, NEAR, records)


TEXT = st.text(st.sampled_from("ab 数.\n"), max_size=10)


@given(st.lists(st.tuples(TEXT, TEXT), max_size=10), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_what_stays_resembles_no_other_that_stays(tmp_path_factory, pairs, ngram):
    folder = tmp_path_factory.mktemp("near")
    records = [record(prompt, answer, i) for i, (prompt, answer) in enumerate(pairs, 1)]
    step = {**NEAR, "ngram": ngram, "threshold": 1.0}
    kept, gone, _ = run(folder, step, records)
    assert run(folder, step, [records[row - 1] for row in kept])[0] == kept
    assert all(": 100.0% of their" in detail for _, detail in gone.values())


def test_unknown_comparison(tmp_path):
    with pytest.raises(StageError, match="compare is 'answer'; expected conversation or prompt"):
        run(tmp_path, {**NEAR, "compare": "answer"}, [record("a", "b")])


ASKED = "Please tell me in one short sentence what the capital city of the country of France is"
RIVALS = [
    record(ASKED, "It is Paris.", 1),
    record(ASKED + ", please", "It is Lyon.", 2),
    record(ASKED + "?", "It is Paris.", 3),
    record(ASKED.replace("France", "Spain"), "It is Madrid.", 4),
    record("What is 2 + 2?", "Four.", 5),
]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"near": None}, [1, 2, 3, 4, 5]),  # 1 and 3 differ by a sign, and nobody asked
        ({"near": 0.8}, [4, 5]),
        ({"near": 0.8, "keep": "first"}, [1, 3, 4, 5]),
        ({"near": 0.8, "keep": "majority"}, [1, 3, 4, 5]),
        ({"near": 0.8, "keep": "report"}, [1, 2, 3, 4, 5]),
        ({"near": 0.6}, [5]),  # one word of sixteen: 12 of 18 triples
    ],
)
def test_near_prompts_with_different_answers(tmp_path, options, kept):
    got, gone, _ = run(tmp_path, {"step": "conflicts", **options}, RIVALS)
    assert got == kept
    assert {reason for reason, _ in gone.values()} <= {"conflict"}


def test_near_conflicts_name_where_it_begins(tmp_path):
    _, gone, _ = run(tmp_path, {"step": "conflicts", "near": 0.8, "keep": "first"}, RIVALS)
    assert gone[2][1] == (
        "its prompt has 2 different answers, with those nearly the same from s f.jsonl:1 on; "
        "keep: first"
    )


def test_report_counts_and_names_conflicts(tmp_path, caplog):
    records = [record("Q?", "yes", 1), record("q?", "no", 2), record("R?", "yes", 3)]
    records.append(record("q?", "Yes", 4))  # a majority for yes is named as well
    with caplog.at_level("INFO"):
        kept, gone, counts = run(tmp_path, {"step": "conflicts", "keep": "report"}, records)
    assert (kept, gone) == ([1, 2, 3, 4], {})
    assert counts["found"]["conflict"] == {
        "rows": 3,
        "times": 3,
        "first": ["s f.jsonl:1", "s f.jsonl:2", "s f.jsonl:4"],
    }
    assert "conflict: s f.jsonl:2: its prompt has 2 different answers" in caplog.text


def test_equal_prompts_stay_one_whatever_lies_between(tmp_path):
    # Rows 2 and 4 ask the same; row 3, which is nearer to them than row 1, comes between.
    base = ASKED.split()
    other = [*base[:-1], "was"]
    closer = [*other, "then"]
    records = [
        record(" ".join(base), "A.", 1),
        record(" ".join(other), "B.", 2),
        record(" ".join(closer), "B.", 3),
        record(" ".join(other), "B.", 4),
    ]
    kept, gone, _ = run(tmp_path, {"step": "conflicts", "near": 0.85}, records)
    assert (2 in kept) == (4 in kept)
    assert set(gone) == {1, 2, 4}
