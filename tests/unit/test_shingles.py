"""Shingles: what a token is in which script, and sets as a person would make them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.shingles import jaccard, shingle_sets


def sets(texts, ngram=3, contexts=None):
    flat, offsets = shingle_sets(texts, ngram, contexts)
    return [set(flat[a:b].tolist()) for a, b in pairwise(offsets)]


@pytest.mark.parametrize(
    ("text", "ngram", "number"),
    [
        ("the quick brown fox", 3, 2),
        ("the quick", 3, 1),  # fewer than three: one shingle of all of them
        ("a a a a a", 3, 1),
        ("你好世界啊", 3, 3),  # characters
        ("สวัสดีครับ", 3, 8),  # Thai, its marks included
        ("안녕 하세요 세계 여", 3, 2),  # Korean puts spaces
        ("use numpy 做矩阵", 2, 4),  # use numpy, numpy 做, 做矩, 矩阵
        ("don't-stop, now.", 1, 4),  # don t stop now
        ("2*3=6", 1, 5),
        ("👍 👎", 1, 2),
        ("?!... \n", 3, 0),
        ("", 3, 0),
    ],
)
def test_tokens(text, ngram, number):
    assert len(sets([text], ngram)[0]) == number


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Hello, world; how are you?", "Hello world how - are 'you'", True),
        ("5+3", "5-3", False),
        ("2*3", "2/3", False),
        ("ab c", "a bc", False),
        ("a b c", "c b a", False),
        ("数据", "据数", False),
    ],
)
def test_what_makes_a_difference(one, other, alike):
    first, second = sets([one, other])
    assert (first == second) == alike


WORDS = st.lists(st.sampled_from(["a", "b", "ab", "ba", "c1", "é"]), max_size=9)


@given(st.lists(WORDS, min_size=1, max_size=6), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_sets_are_those_of_plain_python(texts, ngram):
    def plain(words):
        if len(words) <= ngram:
            return {tuple(words)} if words else set()
        return {tuple(words[i : i + ngram]) for i in range(len(words) - ngram + 1)}

    expected = [plain(words) for words in texts]
    got = sets([" ".join(words) for words in texts], ngram)
    for i, mine in enumerate(expected):
        for j, other in enumerate(expected):
            assert len(mine & other) == len(got[i] & got[j])


def test_contexts_keep_apart():
    first, same, other = sets(["a b c d"] * 3, 3, [7, 7, 8])
    assert first == same
    assert not first & other


def test_jaccard():
    # {1, 2, 3} and {2, 3, 4, 5}: 2 of 5
    one, other = np.array([1, 2, 3], np.uint32), np.array([2, 3, 4, 5], np.uint32)
    assert jaccard(one, other) == pytest.approx(2 / 5)
    assert jaccard(one, one) == 1
