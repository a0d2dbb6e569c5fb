"""Texts as words, in scripts with spaces and without."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.wordplaces import characters_per_word, plain_text, word_texts, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World! It's 3.5%", ["hello", "world", "it", "s", "3", "5"]),
        ("今天ABC班", ["今", "天", "abc", "班"]),
        ("ＡＢＣ　１２", ["abc", "12"]),  # full width
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा"]),  # marks stay with their letters
        ("cafe\u0301 STRASSE Straße", ["café", "strasse", "strasse"]),
        (" .!", []),
    ],
)
def test_words_of_a_text(text, expected):
    assert word_texts(text) == expected


def test_where_a_sentence_may_begin_and_end():
    found = words("Sum up: what is it? Say")
    assert [(w.text, w.opens, w.closes) for w in found] == [
        ("sum", True, False),
        ("up", False, True),
        ("what", True, False),
        ("is", False, False),
        ("it", False, True),
        ("say", True, True),
    ]


@pytest.mark.parametrize(
    ("text", "factor"), [("one two", 1.0), ("今天天气很好 ok", 1.5), ("สวัสดี", 4.0), ("", 1.0)]
)
def test_how_many_characters_stand_for_a_word(text, factor):
    assert characters_per_word(word_texts(text)) == factor


@given(st.text())
def test_both_ways_to_words_agree_and_places_are_right(text):
    found = words(text)
    assert [w.text for w in found] == word_texts(text)
    plain = plain_text(text)
    assert [plain[w.start : w.end].casefold() for w in found] == [w.text for w in found]
