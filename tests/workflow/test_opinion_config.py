"""Faults of judges, sheets and examples in a config, and the jobs that they make."""

from __future__ import annotations

import copy

import pytest
from broken_config import ENDPOINT, GOOD, assert_one_fault, load
from dryruns import jobs_and_groups, project, snakemake

PROMPT = (
    "{% block system %}{% endblock %}{% block user %}{{ question }} {{ answer_a }} {{ answer_b }}"
    "{% endblock %}"
)


def with_judge(**more) -> dict:
    """GOOD with a judge of answers."""
    config = copy.deepcopy(GOOD)
    config["judges"] = {"j": {"endpoint": ENDPOINT, **more}}
    return config


def with_sheet(**more) -> dict:
    """GOOD with a scoring sheet."""
    return {**copy.deepcopy(GOOD), "people": {"p": more}}


BROKEN = {
    "judge without an endpoint": (
        {**GOOD, "judges": {"j": {}}},
        "judges.j: 'endpoint' is missing",
    ),
    "judge with a bad name": (
        {**GOOD, "judges": {"J": {"endpoint": ENDPOINT}}},
        "judges: 'J' can't be a name",
    ),
    "judge with its key in the config": (
        with_judge(endpoint={**ENDPOINT, "api_key": "k"}),
        "judges.j.endpoint.api_key: unknown key; did you mean 'api_key_env'?",
    ),
    "judge that is a run": (
        with_judge(endpoint={"model": "talk-lora"}),
        "judges.j.endpoint.model: 'talk-lora' is a run",
    ),
    "pair of an unknown model": (
        with_judge(pairs=[["talk-lora", "tyni"]]),
        "judges.j.pairs[0]: there is no measured model 'tyni'; did you mean 'tiny'?",
    ),
    "pair of one": (with_judge(pairs=[["tiny", "tiny"]]), "names the same thing twice"),
    "cost without a price": (
        with_judge(limits={"max_cost": 1}),
        "judges.j.limits.max_cost: needs price_per_million",
    ),
    "request that says the model": (
        with_judge(request={"model": "x"}),
        "judges.j.request.model: is set by",
    ),
    "prompt that is not there": (
        with_judge(prompt="gone.jinja"),
        "judges.j.prompt: there is no file",
    ),
    "sheet of an unknown model": (
        with_sheet(models=["talk"]),
        "people.p.models: there is no measured model 'talk'; did you mean 'talk-lora'?",
    ),
    "filled sheet that is not there": (
        with_sheet(filled=["gone.csv"]),
        "people.p.filled: there is no file",
    ),
    "filled sheet of another kind": (
        with_sheet(filled=["rows.jsonl"]),
        "people.p.filled: rows.jsonl is neither .csv nor .json",
    ),
    "no examples": (
        {**GOOD, "generation": {"in_context": {"examples": [0]}}},
        "generation.in_context.examples[0]: 0 is out of range, must be at least 1",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_told_in_a_sentence(name, tmp_path):
    assert_one_fault(tmp_path, *BROKEN[name])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PROMPT.replace("system", "sys"), "has no block 'system'; it needs system and user"),
        (PROMPT.replace("{{ answer_b }}", ""), "does not show {{ answer_b }}"),
        (PROMPT + "{{ model_a }}", "asks for {{ model_a }}, which there is not"),
        ("{% block", "is no Jinja template"),
        (
            PROMPT.replace("{{ question }}", "{{ question.no.such }}"),
            "can't be rendered (Undefined",
        ),
        (PROMPT.replace("{{ question }}", "{{ question[range(10**9)] }}"), "can't be rendered (Ov"),
    ],
)
def test_a_prompt_is_read_before_anything_is_paid(text, said, tmp_path):
    (tmp_path / "own.jinja").write_text(text)
    assert_one_fault(tmp_path, with_judge(prompt="own.jinja"), said)
    (tmp_path / "own.jinja").write_text(PROMPT)
    load(tmp_path, with_judge(prompt="own.jinja"))


def test_a_judge_without_anything_to_judge_is_told(tmp_path):
    config = with_judge()
    config["runs"]["talk-lora"]["measure"] = False
    assert_one_fault(tmp_path, config, "judges.j: there is no measured run to compare")


def test_what_is_asked_for_makes_these_jobs_and_what_is_served_is_shared(tmp_path):
    def edit(config):
        config["generation"]["in_context"] = {"examples": [1, 4]}
        config["judges"] = {
            "here": {"endpoint": {"model": "tiny"}, "rows": 6},
            "too": {"endpoint": {"model": "tiny"}, "pairs": [["tiny", "tickets-lora"]]},
            "far": {"endpoint": ENDPOINT},
        }
        (tmp_path / "ann.csv").write_text("item\n")
        config["people"] = {"plain": {}, "filled": {"filled": ["ann.csv"]}}

    config = project(tmp_path, edit)
    done = snakemake("-n", "-p", "--configfile", config, "--directory", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    jobs, groups = jobs_and_groups(done.stdout)
    against = "tickets-lora.vs.tiny"
    assert {
        *(f"answer_in_context tiny {n}" for n in (1, 4)),
        *(f"score_answers tiny+icl{n}" for n in (1, 4)),
        *(f"judge_pair {judge} {against}" for judge in ("here", "far")),
        *("make_sheet plain", "make_sheet filled", "read_sheets filled"),
    } <= jobs
    assert "read_sheets plain" not in jobs
    assert {
        f"judge_pair here {against}",
        "judge_pair too tiny.vs.tickets-lora",
        "serve_generator tiny answers",
    } in groups
    (server,) = [group for group in groups if "serve_model tiny" in group]
    assert {"answer_in_context tiny 1", "answer_in_context tiny 4"} < server
    (command,) = [
        line
        for line in done.stdout.splitlines()
        if "scripts/judge_pair.py" in line and '"judge":"far"' in line
    ]
    assert "--endpoint  --model  --answers results/eval/tickets-lora/" in command
