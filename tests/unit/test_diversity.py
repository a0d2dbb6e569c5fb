from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow import diversity
from sftflow.diversity import Ngrams, Openings
from sftflow.words import words

TEXTS = st.lists(st.text(alphabet="ab 你c", max_size=20), max_size=12)


def figures(texts):
    found = Ngrams()
    for text in texts:
        found.add(text)
    return {line["n"]: line for line in found.figures()}


@given(TEXTS)
def test_distinct_n_is_the_share_of_different_n_grams(texts):
    said = [words(text) for text in texts]
    pairs = [pair for text in said for pair in pairwise(text)]
    found = figures(texts)
    assert found[2]["ngrams"] == len(pairs)
    assert found[2]["different"] == len(set(pairs))
    for line in found.values():
        assert line["distinct"] is None or 0 < line["distinct"] <= 1


def test_by_hand():
    # words: a b a b c -> 3 of 5; pairs ab ba ab bc -> 3 of 4; triples aba bab abc -> 3 of 3
    found = figures(["a b a b c"])
    assert [found[n]["distinct"] for n in (1, 2, 3)] == [0.6, 0.75, 1.0]


def test_n_grams_do_not_cross_texts():
    assert figures(["a", "b"])[2] == {"n": 2, "ngrams": 0, "different": 0, "distinct": None}


@given(TEXTS)
def test_the_order_of_texts_changes_nothing(texts):
    assert figures(texts) == figures(texts[::-1])


def test_a_long_text_counts_by_its_beginning(monkeypatch):
    monkeypatch.setattr(diversity, "FIRST_WORDS", 3)
    assert figures(["a b c d e"])[1]["ngrams"] == 3


def test_words_beyond_what_a_number_holds_are_one_word(monkeypatch):
    monkeypatch.setattr(diversity, "BITS", 2)  # four numbers, the last for all others
    assert figures(["a b c d e f"])[1]["different"] == 4


def test_openings():
    found = Openings()
    for text in ["Write a poem", "Write a song", "Write me", "写一首诗", "?"]:
        found.add(text)
    said = found.figures()
    assert (said["texts"], said["different"]) == (5, 4)
    first = said["words"][0]
    assert first == {"word": "write", "texts": 3, "next": [["a", 2], ["me", 1]]}
    assert [w["word"] for w in said["words"]] == ["write", "", "写一"]


@pytest.mark.parametrize("texts", [[], ["one two"] * 5])
def test_openings_count_every_text(texts):
    found = Openings()
    for text in texts:
        found.add(text)
    assert found.figures()["texts"] == len(texts)
