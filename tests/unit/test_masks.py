import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.masks import (
    IGNORED,
    labels_in_spans,
    mask_fault,
    pieces,
    straddles,
    tokenized,
    trained_count,
    trained_runs,
)

# "ab|cd|e" as tokens "ab", "cd", "e"
OFFSETS = [(0, 2), (2, 4), (4, 5)]


def test_labels_cover_exactly_the_tokens_in_a_span():
    assert labels_in_spans([7, 8, 9], OFFSETS, [(2, 4)]) == [IGNORED, 8, IGNORED]
    assert labels_in_spans([7, 8, 9], OFFSETS, [(0, 2), (4, 5)]) == [7, IGNORED, 9]
    assert labels_in_spans([7, 8, 9], OFFSETS, []) == [IGNORED] * 3


@pytest.mark.parametrize(
    ("spans", "straddled"),
    [([(2, 4)], False), ([(1, 4)], True), ([(2, 3)], True), ([(0, 5)], False), ([], False)],
)
def test_a_token_on_both_sides_of_an_edge_is_seen(spans, straddled):
    assert straddles(OFFSETS, spans) is straddled


def test_bytes_of_one_character_share_its_offsets():
    # An emoji as two byte tokens, both with the offsets of the whole character.
    offsets = [(0, 1), (1, 2), (1, 2), (2, 3)]
    assert not straddles(offsets, [(1, 2)])
    assert labels_in_spans([1, 2, 3, 4], offsets, [(1, 2)]) == [IGNORED, 2, 3, IGNORED]


@given(st.text(min_size=1, max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_pieces_put_together_are_the_text(text, edges):
    edges = sorted({min(edge, len(text)) for edge in edges})
    spans = list(zip(edges[::2], edges[1::2], strict=False))
    assert "".join(piece for piece, _ in pieces(text, spans)) == text
    trained = "".join(piece for piece, is_trained in pieces(text, spans) if is_trained)
    assert trained == "".join(text[start:end] for start, end in spans)


def test_runs_and_counts():
    labels = [IGNORED, 1, 2, IGNORED, 3]
    assert trained_runs(labels) == [[1, 2], [3]]
    assert trained_count(labels) == 3
    assert trained_count([5, IGNORED]) == 0  # the first token is never predicted


class Letters:
    """A tokenizer with one token per character, but "nn" is one token."""

    def __call__(self, text, **_):
        ids, at = [], 0
        while at < len(text):
            pair = text[at : at + 2] == "nn"
            ids.append(1000 if pair else ord(text[at]))
            at += 2 if pair else 1
        return type("Encoding", (), {"input_ids": ids})

    def decode(self, ids, **_):
        return "".join("nn" if i == 1000 else chr(i) for i in ids)


def test_a_merged_token_is_cut_where_the_prompt_ends():
    # Prompt "pn", answer "na": the whole text has the token "nn" on the edge.
    ids, labels = tokenized(
        Letters(), "pnna", [(2, 4)], [ord("p"), 1000, ord("a")], [(0, 1), (1, 3), (3, 4)]
    )
    assert ids == [ord(c) for c in "pnna"]
    assert labels == [IGNORED, IGNORED, ord("n"), ord("a")]


CONTROL = re.compile("E")


@pytest.mark.parametrize(
    ("trained", "answers", "right"),
    [
        (["yesE"], ["yes"], True),
        (["yes\nE"], ["yes"], True),  # a template's white space
        (["yes"], ["yes"], False),  # end of turn without loss
        (["uyesE"], ["yes"], False),  # a token of the prompt with loss
        (["yeE"], ["yes"], False),  # the answer cut
        (["yesE"], ["yes", "no"], False),  # a turn without loss
        (["yesE", "noE"], ["yes", "no"], True),
        (["noE", "yesE"], ["yes", "no"], False),
        (["<think>hm</think>yesE"], ["yes"], False),  # thinking that nobody wrote
        (["<think></think>yesE"], ["yes"], True),
    ],
)
def test_planted_masks(trained, answers, right):
    labels = []
    for text in trained:
        labels += [IGNORED, *map(ord, text), IGNORED]
    fault = mask_fault(Letters(), CONTROL, labels, [{"content": a} for a in answers])
    assert (fault is None) is right, fault
