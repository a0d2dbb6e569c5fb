"""The language step: short texts, Chinese and Japanese, code, and what can't be told."""

import pytest
from steps_fixture import run_step, talk

from sftflow.languages import letters, prose
from sftflow.stage import StageError

ENGLISH = "The quick brown fox jumps over the lazy dog and runs away."
GERMAN = "Der schnelle braune Fuchs springt über den faulen Hund."
CHINESE = "在中国大陆，汉语通称为“汉语”，是使用人数最多的语言。"
JAPANESE = "自動運転車の損害賠償責任を自動車メーカーに求める。"


def rows(tmp_path, pairs, **options):
    """Return the rows that went with the first word of why, and the books."""
    records = [talk(prompt, answer, row) for row, (prompt, answer) in enumerate(pairs, 1)]
    _, gone, books = run_step(tmp_path, {"step": "language", **options}, records)
    return [(row, reason, detail.split(",")[0]) for row, reason, detail, _ in gone], books


def test_other_languages_go_and_chinese_is_one(tmp_path):
    pairs = [(ENGLISH, ENGLISH), (CHINESE, CHINESE), (JAPANESE, ENGLISH), (ENGLISH, GERMAN)]
    gone, books = rows(tmp_path, pairs, languages=["en", "zh"])
    assert gone == [(3, "other_language", "ja"), (4, "other_language", "de")]
    assert {code: entry["rows"] for code, entry in books.found.items()} == {
        "en": 3, "zh": 1, "ja": 1, "de": 1,
    }  # fmt: skip
    assert books.packages == {"py3langid"}


@pytest.mark.parametrize(("looks_at", "lost"), [("prompt", [2]), ("answer", [1]), ("both", [1, 2])])
def test_which_turns_are_looked_at(tmp_path, looks_at, lost):
    pairs = [(ENGLISH, GERMAN), (GERMAN, ENGLISH), (ENGLISH, ENGLISH)]
    gone, _ = rows(tmp_path, pairs, languages=["en"], looks_at=looks_at)
    assert [row for row, *_ in gone] == lost


def test_what_cannot_be_told_stays_unless_asked(tmp_path):
    code = "```python\nfor zeile in datei: drucke(zeile)\n```"
    pairs = [(ENGLISH, "Oui."), (ENGLISH, code), (ENGLISH, "42, 17, 3.5"), (ENGLISH, '{"a": "b"}')]
    gone, books = rows(tmp_path, pairs, languages=["en"])
    assert gone == []
    assert books.found["unknown"]["rows"] == 4
    gone, _ = rows(tmp_path, pairs, languages=["en"], unknown="reject")
    assert [reason for _, reason, _ in gone] == ["unknown_language"] * 4


def test_letters_and_prose():
    assert letters("ab1 c!") == 3
    assert letters("汉语") == letters("かな") == 6
    assert prose("see `x = 1` at https://example.org/a now").split() == ["see", "at", "now"]


def test_a_language_that_is_not_known(tmp_path):
    with pytest.raises(StageError, match="'xx' is not known; known: af, am"):
        rows(tmp_path, [], languages=["xx"])
