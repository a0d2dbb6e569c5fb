import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF
from sklearn.metrics import f1_score

from sftflow.scoring import fitting_metrics, score
from sftflow.stage import StageError
from sftflow.sums import SUMS

ANSWERS = ["the cat sat on the mat", "a dog ran home", "it rains", "we went to the sea"]
REFERENCES = ["the cat sat on a mat", "the dog ran home fast", "it rains", "they went to sea"]
LABELS = st.sampled_from(["refund", "login", "fault"])


@pytest.mark.parametrize(("name", "metric"), [("bleu", BLEU()), ("chrf", CHRF())])
def test_the_sum_of_all_rows_gives_sacrebleus_score(name, metric):
    sums = SUMS[name](ANSWERS, REFERENCES)
    expected = metric.corpus_score(ANSWERS, [REFERENCES]).score
    assert float(sums.score(sums.table.sum(axis=0))) == pytest.approx(expected)
    twice = np.stack([sums.table.sum(axis=0), sums.table[:2].sum(axis=0)])
    part = metric.corpus_score(ANSWERS[:2], [REFERENCES[:2]]).score
    assert sums.score(twice) == pytest.approx([expected, part])


@given(st.lists(st.tuples(LABELS | st.just("no label"), LABELS), min_size=2, max_size=30))
@settings(max_examples=40)
@pytest.mark.parametrize("average", ["macro", "micro"])
def test_the_sum_of_all_rows_gives_scikit_learns_f1(average, pairs):
    said, wanted = zip(*pairs, strict=True)
    sums = SUMS[f"f1_{average}"](said, wanted)
    labels = sorted(set(wanted))
    expected = f1_score(wanted, said, labels=labels, average=average, zero_division=0)
    assert float(sums.score(sums.table.sum(axis=0))) == pytest.approx(expected)


def test_f1_by_hand():
    pairs = [("a", "a"), ("A.", "a"), ("b", "a"), ("b", "b"), ("none", "b")]
    rows = [{"answer": answer, "reference": reference} for answer, reference in pairs]
    scores = score(rows, ["accuracy", "f1_macro", "f1_micro"])
    assert scores["accuracy"]["value"] == pytest.approx(3 / 5)
    # a: 2 hits, 2 named, 3 wanted: 4/5; b: 1 hit, 2 named, 2 wanted: 2/4
    assert scores["f1_macro"]["value"] == pytest.approx((0.8 + 0.5) / 2)
    # 3 hits, 4 named, 5 wanted
    assert scores["f1_micro"]["value"] == pytest.approx(6 / 9)
    assert 0 < scores["f1_macro"]["stderr"] < 0.5
    assert (scores["f1_macro"]["n"], scores["f1_macro"]["labels"]) == (5, 2)
    assert scores == score(rows, ["accuracy", "f1_macro", "f1_micro"])


def test_free_texts_are_no_labels():
    texts = [f"text {i}" for i in range(1001)]
    with pytest.raises(StageError, match=r"1,001 different texts .* take word_f1"):
        SUMS["f1_macro"](texts, texts)


def test_a_few_references_that_come_again_are_labels():
    assert fitting_metrics(["yes", "no"] * 5)[:2] == ["accuracy", "f1_macro"]
    assert fitting_metrics(["退款", "登录"] * 5)[:2] == ["accuracy", "f1_macro"]
    assert fitting_metrics(["yes", "no"] * 4)[:2] == ["exact_match", "normalized_match"]
    assert fitting_metrics(["yes"] * 50)[:2] == ["exact_match", "normalized_match"]
