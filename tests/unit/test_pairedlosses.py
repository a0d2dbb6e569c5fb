import json
import math
import random

import pytest

import compare_models
from sftflow.losses import Score
from sftflow.lossrows import loss_rows, write_loss_rows
from sftflow.paired import adjusted
from sftflow.pairedlosses import paired_losses


def scores(worse=0.0, rows=60, seed=3):
    """Rows of 20 tokens, some hard and some easy; ``worse`` nats per token are added to all."""
    rng = random.Random(seed)
    hard = [rng.uniform(0.5, 5.0) for _ in range(rows)]
    return [Score(20 * (nats + worse + rng.gauss(0, 0.02)), [True] * 20) for nats in hard]


def written(path, **sets):
    write_loss_rows(path, {name.replace("__", "."): some for name, some in sets.items()})
    return path


def test_a_text_has_a_row_per_stretch_and_data_one_per_row():
    text = Score(30.0, [True] * 300, [10.0, 12.0, 8.0])
    rows = list(loss_rows({"text.a": [text, text], "validation.k": [Score(2.0, [True] * 3), None]}))
    assert [(r["row"], r["nats"], r["tokens"]) for r in rows if r["loss"] == "text.a"] == [
        *((0, 10.0, 128), (1, 12.0, 128), (2, 8.0, 44)),
        *((3, 10.0, 128), (4, 12.0, 128), (5, 8.0, 44)),
    ]
    assert [(r["nats"], r["tokens"]) for r in rows if r["loss"] == "validation.k"] == [
        (2.0, 3),
        (0.0, 0),
    ]


def test_pairing_sees_a_small_loss_that_two_means_can_not(tmp_path):
    base, tuned = scores(), scores(worse=0.05)
    paths = [
        written(tmp_path / f"{i}.parquet", validation__k=s) for i, s in enumerate((base, tuned))
    ]
    (pair,) = adjusted(paired_losses(["validation.k"], *paths))
    assert pair.n == 60
    assert pair.difference == pytest.approx(0.05, abs=0.01)
    assert pair.against == pytest.approx(sum(s.loss for s in base) / 1200)
    assert 0.04 < pair.low < pair.difference < pair.high < 0.06
    assert pair.p_holm < 0.001
    # Beside it: rows of 0.5 to 5 nats differ by 1.3 from each other, so each mean has an error of
    # 1.3 / sqrt(60) = 0.17, and 0.05 would be lost in it.
    spread = math.sqrt(sum((s.loss / 20 - pair.against) ** 2 for s in base) / 60)
    assert spread / math.sqrt(60) > 3 * pair.difference


def test_the_same_losses_do_not_differ(tmp_path):
    path = written(tmp_path / "a.parquet", validation__k=scores())
    (pair,) = paired_losses(["validation.k"], path, path)
    assert (pair.difference, pair.p, pair.ties) == (0.0, 1.0, 60)


@pytest.mark.parametrize("other", [scores(rows=59), [*scores(rows=59), Score(1.0, [True] * 9)]])
def test_other_tokens_are_no_pair(tmp_path, other):
    paths = written(tmp_path / "a.parquet", validation__k=scores()), tmp_path / "b.parquet"
    written(paths[1], validation__k=other)
    assert paired_losses(["validation.k"], *paths) == []


def test_too_few_rows_are_left_to_their_means(tmp_path):
    path = written(tmp_path / "a.parquet", text__a=[Score(3.0, [True] * 200, [2.0, 1.0])] * 4)
    assert paired_losses(["text.a"], path, path) == []
    assert paired_losses([], tmp_path / "not read", path) == []


def test_losses_are_a_family_of_their_own_and_training_rows_are_not_judged(tmp_path):
    for name, worse in (("base", 0.0), ("tuned", -0.5)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "generations.jsonl").write_text("")
        rows = scores(worse)
        written(folder / "loss_rows.parquet", text__a=rows_as_text(rows), train__k=rows)
    spec = {"model": "tuned", "against": "base", "sets": {}, "suites": []}
    spec["losses"] = ["text.a", "train.k"]
    options = ["--model", str(tmp_path / "tuned"), "--against", str(tmp_path / "base")]
    out = tmp_path / "out.json"
    compare_models.main(["--spec", json.dumps(spec), *options, "--comparison", str(out)])
    text, train = json.loads(out.read_text())["measures"]
    assert (text["group"], text["metric"], train["metric"]) == ("loss", "text.a", "train.k")
    assert text["p_holm"] == text["p"] < 0.001
    assert train["p_holm"] is None


def rows_as_text(rows):
    return [Score(row.loss, row.likeliest, [row.loss]) for row in rows]
