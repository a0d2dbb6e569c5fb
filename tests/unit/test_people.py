"""Scoring sheets: blind, read back strictly, and brought together rightly."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import html

import make_sheet
import read_sheets
from sftflow.agreement import krippendorff_alpha
from sftflow.sheets import CRITERIA
from sftflow.stage import StageError

MODELS = ["secret-base", "secret-tuned"]
EVIL = "</script><script>alert(1)</script>"


def answers(folder, model, said):
    path = folder / f"{model}.jsonl"
    rows = [
        {
            "set": "t",
            "id": f"id{i}",
            "messages": [{"role": "user", "content": f"question {i} {EVIL}"}],
            "reference": f"reference {i}",
            "answer": text,
        }
        for i, text in enumerate(said)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def sheet(folder, base, tuned, **more):
    """Make a sheet; return its three files."""
    spec = {"sheet": "s", "title": "T", "models": MODELS, "rows": 20, "seed": 0}
    spec |= {"show_reference": True, **more}
    paths = [
        answers(folder, model, said) for model, said in zip(MODELS, (base, tuned), strict=True)
    ]
    made = [folder / name for name in ("sheet.html", "sheet.csv", "key.json")]
    argv = ["--spec", json.dumps(spec), "--answers", *paths]
    for name, path in zip(("html", "csv", "key"), made, strict=True):
        argv += [f"--{name}", str(path)]
    make_sheet.main(argv)
    return made


def items(key):
    return json.loads(key.read_text())["items"]


def table(path):
    text = path.read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def fill(path, to, score, rater="", delimiter=","):
    """Fill in a copy of sheet.csv: ``score`` gives a cell for (row of the sheet, criterion)."""
    rows = table(path)
    for number, one in enumerate(rows):
        one |= {c: score(number, one, c) for c in CRITERIA} | {"rater": rater}
    with to.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, rows[0], delimiter=delimiter)
        out.writeheader()
        out.writerows(rows)
    return str(to)


def ratings(key, *filled, models=MODELS):
    spec = {"sheet": "s", "filled": list(filled), "models": models, "pairs": [MODELS[::-1]]}
    out = key.with_name("ratings.json")
    read_sheets.main(["--spec", json.dumps(spec), "--key", str(key), "--ratings", str(out)])
    return json.loads(out.read_text())


BASE, TUNED = [f"bad {i}" for i in range(6)], [f"good {i}" for i in range(6)]


def test_no_model_is_named_on_what_is_handed_out(tmp_path):
    page, cells, key = sheet(tmp_path, BASE, TUNED)
    assert "secret" not in page.read_text() + cells.read_text()
    assert {m for item in items(key).values() for m in item["models"]} == set(MODELS)


def test_the_seed_shuffles_the_answers_within_a_prompt(tmp_path):
    def order(seed):
        _, cells, key = sheet(tmp_path, BASE, TUNED, seed=seed)
        known = items(key)
        return [known[row["item"]]["models"][0] for row in table(cells)]

    first = order(0)
    assert order(0) == first
    assert first[::2] != [first[0]] * 6  # not always the same model first
    assert any(order(seed) != first for seed in (1, 2, 3))


def test_equal_answers_are_one_item_of_both_models(tmp_path):
    _, cells, key = sheet(tmp_path, ["same", "bad"], ["same", "good"])
    assert len(table(cells)) == 3
    assert sorted(len(item["models"]) for item in items(key).values()) == [1, 1, 2]


def test_a_prompt_that_a_model_did_not_answer_is_left_out(tmp_path):
    _, cells, _ = sheet(tmp_path, ["a", None], ["b", "c"])
    assert {row["prompt"].split()[1] for row in table(cells)} == {"0"}
    with pytest.raises(StageError, match="no prompt that all of"):
        sheet(tmp_path, [None], ["b"])


def test_the_page_is_one_file_in_which_data_are_text(tmp_path):
    page, _, key = sheet(tmp_path, BASE, TUNED)
    tree = html.fromstring(page.read_text())
    assert len(tree.xpath("//script")) == 1
    assert tree.xpath("//link | //img | //*[@src]") == []
    assert EVIL in " ".join(tree.itertext())
    assert len(tree.xpath("//article")) == len(items(key)) == 12
    assert len(tree.xpath("//article[1]//input[@type='radio']")) == 5 * len(CRITERIA) * 6
    assert tree.xpath("//details//pre/text()")[0].startswith("reference ")
    hidden, _, _ = sheet(tmp_path, BASE, TUNED, show_reference=False)
    assert "reference" not in html.fromstring(hidden.read_text()).text_content().lower()


def test_a_spreadsheet_runs_no_answer(tmp_path):
    _, cells, _ = sheet(tmp_path, ["=1+1"], ["-x"])
    assert {row["answer"] for row in table(cells)} == {"'=1+1", "'-x"}


def score_of(number, one, criterion):
    return 5 if "good" in one["answer"] else 2


def test_filled_sheets_come_back_as_means_per_model(tmp_path):
    _, cells, key = sheet(tmp_path, BASE, TUNED)
    ann = fill(cells, tmp_path / "ann.csv", score_of)
    bob = fill(cells, tmp_path / "b.csv", lambda *a: score_of(*a) - 1, "Bob", delimiter=";")
    said = ratings(key, ann, bob)
    assert (said["raters"], said["ratings"]) == (["Bob", "ann"], 24)
    for criterion in CRITERIA:
        tuned, base = (said["models"][m][criterion] for m in MODELS[::-1])
        assert (tuned["value"], base["value"], tuned["n"]) == (4.5, 1.5, 6)
        assert (tuned["low"], tuned["high"]) == (4.5, 4.5)  # all prompts alike
        apart = said["differences"][0]["criteria"][criterion]
        assert (apart["value"], apart["n"]) == (3.0, 6)
        assert 0 < said["agreement"][criterion]["alpha"] < 1
    assert said["unknown"] == []


def test_the_page_s_own_file_is_read_and_empty_scores_are_no_scores(tmp_path):
    _, _, key = sheet(tmp_path, BASE, TUNED)
    first, second = sorted(items(key))[:2]
    rows = [{"item": first, "relevance": 4, "comment": ""}, {"item": second, "comment": "?"}]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"sheet": "abc", "rater": "Eve", "ratings": rows}))
    said = ratings(key, str(path))
    assert (said["raters"], said["ratings"]) == (["Eve"], 1)
    (model,) = items(key)[first]["models"]
    assert said["models"][model]["relevance"]["value"] == 4
    assert said["models"][model]["safety"]["value"] is None  # not 0
    assert said["agreement"]["relevance"] == {"alpha": None, "items": 0}


@pytest.mark.parametrize("bad", ["6", "0", "3.5", "good", "-1"])
def test_a_bad_cell_is_named_by_file_row_and_column(tmp_path, bad):
    _, cells, key = sheet(tmp_path, BASE, TUNED)

    def one_bad(number, one, criterion):
        return bad if (number, criterion) == (3, "fluency") else "4.0"

    filled = fill(cells, tmp_path / "f.csv", one_bad)
    with pytest.raises(StageError) as caught:
        ratings(key, filled)
    assert "f.csv: a score is a whole number from 1 to 5 or an empty cell; mend row 5, " in str(
        caught.value
    )
    assert f"column fluency: {bad!r}" in str(caught.value)


def test_one_person_scores_an_answer_once(tmp_path):
    _, cells, key = sheet(tmp_path, BASE, TUNED)
    both = [fill(cells, tmp_path / name, score_of, "Ann") for name in ("a.csv", "b.csv")]
    with pytest.raises(StageError, match=r"b\.csv, row 2: 'Ann' has scored item .* already"):
        ratings(key, *both)


def test_scores_of_answers_that_are_no_more_are_told_and_left_out(tmp_path):
    _, cells, _ = sheet(tmp_path, BASE, TUNED)
    filled = fill(cells, tmp_path / "f.csv", score_of)
    _, _, key = sheet(tmp_path, BASE, [*TUNED[:5], "good as new"])
    said = ratings(key, filled)
    assert [one["place"] for one in said["unknown"]] == [said["unknown"][0]["place"]]
    assert said["models"]["secret-tuned"]["relevance"]["n"] == 5
    _, _, key = sheet(tmp_path, ["x"], ["y"])
    with pytest.raises(StageError, match="none of the 12 scored answers is on it"):
        ratings(key, filled)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item;relevance\n1;2\n", "the first row has no column accuracy, fluency"),
        ("", "the first row has no column item"),
        ("\xff", "can't be read as CSV in UTF-8"),
    ],
)
def test_files_that_are_no_sheets_are_told(tmp_path, text, said):
    _, _, key = sheet(tmp_path, BASE, TUNED)
    (tmp_path / "f.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(StageError, match=said):
        ratings(key, str(tmp_path / "f.csv"))
    (tmp_path / "f.json").write_text("[]")
    with pytest.raises(StageError, match=r"f\.json is no saved sheet"):
        ratings(key, str(tmp_path / "f.json"))


# Krippendorff 2011, example C: four observers, twelve units; alpha for ordinal data is 0.815.
PUBLISHED = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def test_alpha_is_that_of_the_published_example():
    units = [[s for s in scores if s is not None] for scores in zip(*PUBLISHED, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.815, abs=5e-4)


def test_alpha_without_variation_or_without_pairs_is_unknown():
    assert krippendorff_alpha([[3, 3], [3, 3]]) is None
    assert krippendorff_alpha([[1], [2]]) is None
    assert krippendorff_alpha([[1, 1], [5, 5]]) == 1.0


@given(st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4), min_size=2, max_size=8))
def test_alpha_is_at_most_one_and_does_not_see_who_scored(units):
    alpha = krippendorff_alpha(units)
    if alpha is not None:
        assert alpha <= 1
        assert krippendorff_alpha([scores[::-1] for scores in units]) == pytest.approx(alpha)
        assert krippendorff_alpha([[6 - s for s in u] for u in units]) == pytest.approx(alpha)


def test_no_spreadsheet_takes_the_name_of_an_answer_for_a_number(tmp_path):
    _, _, key = sheet(tmp_path, BASE, TUNED)
    assert all(item.startswith("a") and len(item) == 13 for item in items(key))
