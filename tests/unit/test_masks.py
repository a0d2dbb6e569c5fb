import re

import pytest

from sftflow.masks import (
    IGNORED,
    THOUGHT_HERE,
    first_token,
    frame_of,
    labels_in_spans,
    mask_fault,
    spans_of_tokens,
    trained_count,
    trained_runs,
)

# "ab|cd|e" as tokens "ab", "cd", "e"
OFFSETS = [(0, 2), (2, 4), (4, 5)]


def test_labels_cover_exactly_the_tokens_in_a_span():
    assert labels_in_spans([7, 8, 9], OFFSETS, [(2, 4)]) == [IGNORED, 8, IGNORED]
    assert labels_in_spans([7, 8, 9], OFFSETS, [(0, 2), (4, 5)]) == [7, IGNORED, 9]
    assert labels_in_spans([7, 8, 9], OFFSETS, []) == [IGNORED] * 3


def test_the_last_token_of_a_span_may_reach_beyond_it():
    # An end-of-turn token that takes in the line end behind it: "ab" + "c" with its "d".
    assert labels_in_spans([7, 8, 9], OFFSETS, [(0, 3)]) == [7, 8, IGNORED]
    assert spans_of_tokens(OFFSETS, [(0, 2), (4, 5)]) == [0, None, 1]


def test_the_first_token_at_or_behind_a_place():
    assert [first_token(OFFSETS, place) for place in (0, 1, 2, 4, 5)] == [0, 1, 1, 2, 3]


def test_bytes_of_one_character_share_its_offsets():
    # An emoji as two byte tokens, both with the offsets of the whole character.
    offsets = [(0, 1), (1, 2), (1, 2), (2, 3)]
    assert first_token(offsets, 1) == 1
    assert labels_in_spans([1, 2, 3, 4], offsets, [(1, 2)]) == [IGNORED, 2, 3, IGNORED]


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


@pytest.mark.parametrize("answer", ["e", ">", "end", "im_end", "think", "think>", "i"])
def test_a_text_that_is_a_piece_of_what_stands_around_it(answer):
    control = re.compile(re.escape("<|im_end|>"))
    message = {"content": answer, "reasoning_content": answer}
    said = f"<think>\n{answer}\n</think>\n\n{answer}<|im_end|>"
    assert frame_of(Letters(), control, said, message) == answer  # the thinking
    assert frame_of(Letters(), control, f"{answer}<|im_end|>", message) == ""
    assert frame_of(Letters(), control, "<|im_end|>", message) is None


@pytest.mark.parametrize(
    ("trained", "right"),
    [("noteshmsayyesE", True), ("yesE", True), ("hmyesE", True), ("notessayyesE", False)],
)
def test_words_of_the_template_around_thinking(trained, right):
    labels = [IGNORED, *map(ord, trained)]
    answers = [{"content": "yes", "reasoning_content": "hm"}]
    fault = mask_fault(Letters(), CONTROL, labels, answers, {f"notes{THOUGHT_HERE}say"})
    assert (fault is None) is right, fault
