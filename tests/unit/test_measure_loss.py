import math

import pytest

from measure_loss import measured, text_sequences
from sftflow.losses import IGNORED, Scored
from sftflow.stage import Progress, StageError


class Bytes:
    """A tokenizer with one token per character, and a BOS token if asked for."""

    def __init__(self, bos=None):
        self.bos_token_id = bos

    def __call__(self, text, **_):
        spans = [(i, i + 1) for i in range(len(text))]
        return {"input_ids": [ord(c) % 50 for c in text], "offset_mapping": spans}


class Model:
    """Gives every token of a vocabulary of 50 the same probability."""

    device = "cpu"

    class config:  # noqa: N801 (as transformers calls it)
        vocab_size = 50

    def __call__(self, input_ids, logits_to_keep, **_):
        import torch

        class Output:
            logits = torch.zeros(*input_ids.shape, 50)[:, -logits_to_keep:]

        return Output


def test_the_first_token_counts_only_after_a_bos_token(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("éabc", encoding="utf-8")
    (plain,), size = text_sequences(path, Bytes(), 8)
    assert [label != IGNORED for label in plain.labels] == [False, True, True, True]
    assert size == 3  # é is two bytes, and not scored
    (after_bos,), size = text_sequences(path, Bytes(bos=1), 8)
    assert after_bos.input_ids[0] == 1 and sum(x != IGNORED for x in after_bos.labels) == 4
    assert size == 5


def test_an_even_guess_costs_the_logarithm_of_the_vocabulary(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("x" * 101, encoding="utf-8")
    sequences, size = text_sequences(path, Bytes(), 16)
    loss = measured(Model(), sequences, size, 0, Progress(100, "tokens"))
    assert loss["value"] == pytest.approx(math.log(50))
    assert loss["bits_per_byte"] == pytest.approx(math.log2(50))
    assert loss["stderr"] == pytest.approx(0, abs=1e-9)
    assert (loss["n"], loss["bytes"], loss["unit"]) == (100, 100, "nats/token")


def test_no_rows_give_null():
    nothing = [Scored([1, 2], [IGNORED, IGNORED])]
    for sequences in ([], nothing):
        loss = measured(Model(), sequences, 0, 0, Progress(1, "tokens"))
        assert (loss["value"], loss["bits_per_byte"], loss["n"]) == (None, None, 0)


def test_a_text_that_can_not_be_read_or_scored(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(StageError, match="can't be read as UTF-8"):
        text_sequences(path, Bytes(), 8)
    path.write_text("x")
    with pytest.raises(StageError, match="has 1 tokens"):
        text_sequences(path, Bytes(), 8)
