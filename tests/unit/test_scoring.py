import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.matching import bare, final_number, is_json, same_json
from sftflow.scoring import (
    METRICS,
    fitting_metrics,
    repeated_share,
    score,
)
from sftflow.stage import StageError
from sftflow.sums import SUMS

TEXT = st.text(max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


def row(answer, reference=None, **more):
    return {"answer": answer, "reference": reference, "finish_reason": "stop", **more}


def one(metric, answer, reference=None, **more):
    return score([row(answer, reference, **more)], [metric])[metric]["value"]


def test_exact_match_by_hand():
    rows = [row("a", "a"), row(" b\n", "b"), row("C", "c"), row("d", "x"), row("no reference")]
    # 2 of 4: sqrt(0.5 * 0.5 / 3) = 0.288675; the fifth row has no reference and does not count
    assert score(rows, ["exact_match"]) == {
        "exact_match": {"value": 0.5, "stderr": pytest.approx(0.288675, rel=1e-5), "n": 4}
    }


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("Paris.", "paris", 1),
        ('"Paris"', "Paris", 1),
        ("ＰＡＲＩＳ", "Paris", 1),
        ("New  York\n", "new york", 1),
        ("東京。", "東京", 1),
        ("3.5", "35", 0),
        ("-5", "5", 0),
        ("Paris, France", "Paris", 0),
    ],
)
def test_normalized_match(answer, reference, same):
    assert one("normalized_match", answer, reference) == same


@given(TEXT, TEXT)
def test_exact_implies_normalized(a, b):
    if one("exact_match", a, b):
        assert one("normalized_match", a, b) == 1
    assert bare(bare(a)) == bare(a)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"a": 1}', True),
        (' [1, 2]\n"', False),
        ("{'a': 1}", False),
        ('{"a": 1,}', False),
        ('{"a": NaN}', False),
        ('{"a": 1} and more', False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_json_valid(text, valid):
    assert is_json(text) is valid
    assert one("json_valid", text) == float(valid)


@given(JSON)
def test_a_json_value_is_itself_whatever_its_layout(value):
    assert same_json(value, json.loads(json.dumps(value, indent=2, sort_keys=True)))


def test_true_is_not_one_but_one_is_one_point_zero():
    assert not same_json(True, 1)
    assert not same_json({"a": [False]}, {"a": [0]})
    assert same_json({"a": [1]}, {"a": [1.0]})


def test_json_fields_by_hand():
    reference = '{"intent": "refund", "product": "phone"}'
    rows = [
        row('{"product": "phone", "intent": "refund"}', reference),  # 2 of 2
        row('{"intent": "refund", "product": "tablet", "more": 1}', reference),  # 1 of 2
        row("no JSON", reference),  # 0 of 2
        row("{}", "no object"),  # says nothing
    ]
    scores = score(rows, ["json_fields"])
    assert scores["json_fields"]["value"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert scores["json_fields"]["n"] == 3
    assert scores["json_fields.intent"]["value"] == pytest.approx(2 / 3)
    assert scores["json_fields.product"]["value"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 + 4 = 7\n#### 1,234.50", "1234.50"),
        ("#### $18", "18"),
        ("#### -3", "-3"),
        ("it costs 12 euros, not 13.", "13"),
        ("12.50.", "12.50"),
        ("none", None),
    ],
)
def test_final_number(text, number):
    assert final_number(text) == (None if number is None else Decimal(number))


def test_numeric_answer():
    assert one("numeric_answer", "That makes 1,000.", "... #### 1000") == 1
    assert one("numeric_answer", "I don't know", "#### 3") == 0
    assert one("numeric_answer", "3", "no number") is None


def test_repetition_by_hand():
    # "a b c d a b c d": 5 4-grams, "a b c d" twice: 1 - 4/5
    assert repeated_share("a b c d A, B c d!") == pytest.approx(0.2)
    assert repeated_share("a b c") is None
    assert repeated_share("one two three four") == 0


@given(st.lists(st.sampled_from("abc"), min_size=4, max_size=40))
def test_repetition_is_a_share(letters):
    assert 0 <= repeated_share(" ".join(letters)) < 1


def test_distinct_2_by_hand():
    # bigrams ab bc | ab: 2 different of 3; the third answer has none
    scores = score([row("a b c"), row("a b"), row("a")], ["distinct_2"])
    assert scores["distinct_2"] == {"value": pytest.approx(2 / 3), "stderr": None, "n": 2}


def test_ended_and_lengths():
    rows = [row("ab", completion_tokens=2), row("abcd", finish_reason="length")]
    rows[1]["finish_reason"] = "length"
    scores = score(rows, ["ended", "answer_chars", "answer_tokens"])
    assert scores["ended"]["value"] == 0.5
    assert scores["answer_chars"]["value"] == 3
    assert (scores["answer_tokens"]["value"], scores["answer_tokens"]["n"]) == (2, 1)


def test_overlap_metrics_at_their_ends():
    reference = "the quick brown fox jumps over the lazy dog"
    for metric, most in (("bleu", 100), ("chrf", 100), ("rougeL", 1)):
        assert one(metric, reference, reference) == pytest.approx(most)
        assert one(metric, "", reference) == pytest.approx(0)
        assert one(metric, reference) is None


def test_rouge_l_by_hand():
    # longest common subsequence "the fox": precision 2/3, recall 2/4, F1 = 4/7
    assert one("rougeL", "the red fox", "the quick brown fox") == pytest.approx(4 / 7)
    assert one("rougeL", "快速的狐狸", "快速的狐狸") == 1  # 0 with rouge-score's own tokenizer


@given(*[st.text(alphabet="abc D1", max_size=30)] * 2)
@settings(deadline=None, max_examples=50)  # the first example imports rouge-score
def test_rouge_l_is_rouge_scores_where_that_knows_the_letters(answer, reference):
    from rouge_score.rouge_scorer import RougeScorer

    theirs = RougeScorer(["rougeL"]).score(reference, answer)["rougeL"].fmeasure
    assert one("rougeL", answer, reference) == pytest.approx(theirs)


def test_bleu_knows_chinese():
    answers = [row("我今天去学校读书", "我今天去学校学习")]
    scores = score(answers, ["bleu"])
    assert scores["bleu"]["value"] > 30  # with spaces as boundaries it would be 0
    assert "tok:zh" in scores["bleu"]["signature"]


def test_bootstrap_error_is_the_same_each_time():
    rows = [row(f"the {w} fox runs home", "the red fox runs home") for w in ("red", "old", "big")]
    first = score(rows, ["bleu", "chrf"])
    assert first == score(rows, ["bleu", "chrf"])
    assert first["bleu"]["stderr"] > 0


def test_metrics_that_fit():
    assert fitting_metrics(['{"a": 1}'] * 19 + ["oops"])[:3] == [
        "exact_match",
        "json_valid",
        "json_fields",
    ]
    assert fitting_metrics(["1 + 1 = 2 #### 2"])[0] == "numeric_answer"
    assert fitting_metrics(["Paris", "42"])[:2] == ["exact_match", "normalized_match"]
    assert fitting_metrics(["a long answer " * 9])[:3] == ["bleu", "chrf", "rougeL"]
    assert "exact_match" not in fitting_metrics([])
    for references in ([], ["x"], ["{}"], ["long " * 50]):
        assert {"ended", "answer_tokens", "repetition"} <= set(fitting_metrics(references))


@pytest.mark.parametrize("metric", METRICS)
def test_no_answers_give_null(metric):
    assert score([], [metric])[metric]["value"] is None


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
@settings(deadline=None)  # the first example imports scikit-learn
def test_order_of_rows_does_not_matter(pairs):
    metrics = [m for m in METRICS if m not in SUMS]  # a bootstrap draws by place
    rows = [row(a, r, completion_tokens=len(a)) for a, r in pairs]
    assert score(rows, metrics) == score(rows[::-1], metrics)


def test_prompts_without_an_answer_are_left_out_and_counted():
    rows = [row("a", "a"), row(None, "b", finish_reason="prompt_too_long")]
    scores = score(rows, ["exact_match", "ended"])
    assert (scores["exact_match"]["value"], scores["exact_match"]["n"]) == (1, 1)
    assert (scores["ended"]["value"], scores["ended"]["n"]) == (1, 1)
    assert (scores["answered"]["value"], scores["answered"]["n"]) == (0.5, 2)
    assert "answered" not in score(rows[:1], ["exact_match"])


def test_unknown_metric_names_the_nearest():
    with pytest.raises(StageError, match="did you mean 'exact_match'"):
        score([], ["exactmatch"])


def test_a_bootstrap_in_which_some_sample_scores_nothing():
    """Four answers, one of which shares a character with its reference (seen on real data)."""
    answers = ["xx", "yy", "a", "zz"]
    rows = [{"answer": a, "reference": "bcd a", "finish_reason": "stop"} for a in answers]
    for name in ("chrf", "bleu"):
        assert score(rows, [name])[name]["stderr"] >= 0
