import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.words import opening, words


def test_words_of_scripts_without_spaces():
    assert words("Hello, World-2!") == ["hello", "world", "2"]
    assert words("我爱Python") == ["我", "爱", "python"]
    assert words("Привет мир") == ["привет", "мир"]


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("Write a poem", ("write", "a")),
        ("请解释一下", ("请解", "释一")),
        ("写", ("写", "")),
        ("Hi!", ("hi", "")),
        ("?!", ("", "")),
        ("", ("", "")),
    ],
)
def test_how_a_text_begins(text, begins):
    assert opening(text) == begins


@given(st.text())
def test_width_and_case_make_no_other_word(text):
    assert words(text.upper().lower()) == words(text.upper().lower().lower())
    assert all(word and " " not in word for word in words(text))
