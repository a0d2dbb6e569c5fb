import json
import math

import pytest

import measure_loss
from measure_loss import check_finite, mean_loss, scores_of, text_sequences
from sftflow.losses import IGNORED, Score, Scored
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


def measured(model, sequences, size, pad_id, done):
    return mean_loss(sequences, scores_of(model, sequences, pad_id, done), size)


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


@pytest.mark.parametrize(
    ("value", "cause"),
    [(float("nan"), "its weight up.weight holds NaN"), (1.0, "its weights are too large")],
)
def test_a_loss_that_is_no_number_is_named_with_model_and_weight(value, cause):
    import torch

    class Damaged:
        def named_parameters(self):
            return [("down.weight", torch.ones(2)), ("up.weight", torch.tensor([1.0, value]))]

    score = Score(0.5, [True])
    check_finite({"model": "m"}, Damaged(), {"text.a": [score, None]})
    wrong = {"text.a": [score], "train.b": [score, Score(math.inf, [True])]}
    with pytest.raises(StageError, match=f"m: the loss train.b is not a finite number: {cause}"):
        check_finite({"model": "m"}, Damaged(), wrong)


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


class Counting(Model):
    """Is sure that each token is the one before plus one."""

    def __call__(self, input_ids, logits_to_keep, **_):
        import torch

        class Output:
            logits = 100.0 * torch.nn.functional.one_hot((input_ids + 1) % 50, 50).float()

        Output.logits = Output.logits[:, -logits_to_keep:]
        return Output


class Spelling(Bytes):
    pad_token_id = 0

    def decode(self, ids):
        return "x" * len(ids)


def test_loss_and_recitation_of_training_and_validation_rows(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "d.t.0a1b2c3d"
    folder.mkdir()

    def row(name, *answer):
        return {"id": name, "input_ids": [1, *answer], "labels": [IGNORED, *answer]}

    sides = {
        "train": [row("counts", 2, 3, 4), row("again", 2, 3, 4), row("slips", 2, 3, 9)],
        "validation": [row("held out", 2, 9, 10)],
    }
    for name, rows in sides.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")
    monkeypatch.setattr(measure_loss, "load", lambda *_: (Counting(), Spelling()))
    Counting.dtype, Counting.config.max_position_embeddings = "torch.float32", 64

    def measure(rows):
        asked = {"rows": rows, "given_tokens": 0, "max_tokens": 8}
        spec = {"model": "t", "texts": {}, "memorisation": asked}
        common = ["--spec", json.dumps(spec), "--model", "t", "--templated", str(folder)]
        common += ["--rows", str(tmp_path / "loss_rows.parquet")]
        measure_loss.main([*common, "--loss", str(tmp_path / "loss.json")])
        return json.loads((tmp_path / "loss.json").read_text())

    said = measure(100)
    told = said["recitation"][folder.name]
    assert told["recited"] == ["again", "counts"]
    assert told["train"]["exact"]["value"] == pytest.approx(2 / 3)
    assert told["train"]["prefix_tokens"]["value"] == pytest.approx(8 / 3)  # (3 + 3 + 2) / 3
    assert told["validation"]["exact"] == {"value": 0.0, "stderr": None, "n": 1}
    # one of nine tokens is wrong, at a loss of 100: 100 / 9
    assert said["losses"][f"train.{folder.name}"]["value"] == pytest.approx(100 / 9)
    assert said["losses"][f"validation.{folder.name}"]["value"] == pytest.approx(100 / 3)
    rows = pq.read_table(tmp_path / "loss_rows.parquet").to_pylist()
    kept = [(row["loss"].partition(".")[0], row["row"], row["tokens"]) for row in rows]
    assert kept == [("validation", 0, 3), ("train", 0, 3), ("train", 1, 3), ("train", 2, 3)]
    assert [row["nats"] for row in rows] == pytest.approx([100, 0, 0, 100])
    off = measure(0)
    assert off["recitation"] == {}
    assert list(off["losses"]) == [f"validation.{folder.name}"]
