"""What the page's first screen says of a model that was trained on preference pairs."""

from sftflow.preferencereport import preference_findings

SAID = {
    "run": "dpo",
    "base": "sft",
    "pairs": 20,
    "reward_accuracy": {"value": 0.85},
    "reward_margin": {"value": 4.4261},
}
MODELS = [
    {"name": "sft", "run": "sft"},
    {"name": "dpo", "run": "dpo"},
    {"name": "dpo+adapter", "run": "dpo"},
]


def test_every_form_of_a_run_says_how_many_pairs_it_ranks_right():
    for model in ("dpo", "dpo+adapter"):
        (line,) = preference_findings([SAID], MODELS, model)
        assert line == {
            "verdict": "plain",
            "text": "Against sft, its reference, 85% of 20 validation pairs are ranked right, by "
            "a margin of 4.43 nats.",
        }


def test_other_models_and_runs_without_validation_pairs_say_nothing():
    assert preference_findings([SAID], MODELS, "sft") == []
    none = {**SAID, "pairs": 0, "reward_accuracy": {"value": None}}
    assert preference_findings([none], MODELS, "dpo") == []
