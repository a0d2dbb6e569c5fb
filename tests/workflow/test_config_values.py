"""Values of the right type that make no sense, alone or together: told before anything runs."""

from __future__ import annotations

import json

import pytest
from broken_config import ENDPOINT, GOOD, assert_one_fault, cleaned, edited, load, made
from dryruns import snakemake

from sftflow.config import load_config
from sftflow.configfile import ConfigFault
from sftflow.devices import gpu_count
from sftflow.measuring_rules import unserved_on_cpu


def run(**keys) -> dict:
    return edited(**{f"runs__talk_lora__{key}": value for key, value in keys.items()})


def training(**keys) -> dict:
    return run(training=keys)


def source(**keys) -> dict:
    return edited(sources__mine={"path": "rows.jsonl", **keys})


def made_base(**make) -> dict:
    return edited(bases__tiny={"make": make, "template": "chatml"})


def asked(base_url: str) -> dict:
    return made(endpoint={**ENDPOINT, "base_url": base_url})


NO_HOST = "endpoint.base_url: names no host and port that there can be"
NO_TEST_ROWS = edited(datasets__talk={"sources": ["mine"], "split": {"test": 0}})
SUITE = {"tasks": ["mmlu"], "dataset": "talk"}

REFUSED = {
    "seed that no generator takes": (
        training(seed=2**32),
        "training.seed: 4294967296 is out of range, must be at most 4294967295",
    ),
    "training without end": (training(num_train_epochs=1e9), "must be at most 10000"),
    "timeout that no socket takes": (made(limits={"timeout_s": 1e300}), "must be at most 86400"),
    "sweep of an unknown value in a group": (
        run(sweep={"lora": [{"r": 0}]}),
        "lora.r: 0 is out of range",
    ),
    "sweep over dpo": (
        run(sweep={"dpo": [None, {"beta": 0.2}]}),
        "dpo: dataset 'talk' has no preference pairs",
    ),
    "sweep over a search": (
        run(sweep={"search": [{"space": {"lora.r": {"choices": [4, 8]}}}]}),
        "search.trials: 16 are more than the 2 combinations",
    ),
    "search of a group": (
        run(search={"space": {"lora": {"choices": [{"r": 4}]}}}),
        "search.space.lora: a group of keys can't be searched",
    ),
    "step over the range": (
        run(search={"space": {"lora.r": {"low": 1, "high": 8, "step": 100}}, "trials": 1}),
        "search.space.lora.r: step (100) leads over high (8) at once",
    ),
    "steps without end": (
        run(search={"space": {"lora.lora_alpha": {"low": 1.5, "high": 8, "step": 1e-300}}}),
        "step (1e-300) makes more than 100,000 values",
    ),
    "encoding that there is not": (
        source(encoding="utf-99"),
        "sources.mine.encoding: 'utf-99' is no encoding of text",
    ),
    "encoding of bytes": (source(encoding="base64"), "'base64' is no encoding of text"),
    "delimiter that is a quote": (source(delimiter='"'), "delimiter: '\"' can't stand between"),
    "one column for both": (
        source(columns={"prompt": "a", "completion": "a"}),
        "columns: prompt and completion are the same column 'a'",
    ),
    "messages beside a prompt": (
        source(columns={"messages": "m", "system": "s"}),
        "columns: messages stands beside system; leave one of them out",
    ),
    "one file twice": (source(path=["rows.jsonl"] * 2), "path: names the same thing twice"),
    "how to read what is made": (
        edited(sources__new={"make": made()["sources"]["new"]["make"], "encoding": "cp1252"}),
        "sources.new.encoding: is for files, and this source is made here",
    ),
    "no host": (asked("http://"), NO_HOST),
    "port that there can't be": (asked("http://host:99999/v1"), NO_HOST),
    "blank in an address": (asked("http://ho st/v1"), NO_HOST),
    "the method in an address": (
        asked("http://host/v1/chat/completions"),
        "base_url: ends with /chat/completions, which is added to it",
    ),
    "budget under one reply": (
        made(limits={"max_total_tokens": 10}),
        "limits.max_total_tokens: 10 is less than max_tokens 1024 of a single reply",
    ),
    "instructions without a number": (
        made("self_instruct", rows=None),
        "sources.new.make.rows: must be a whole number, not null",
    ),
    "bounds that no row is within": (
        cleaned({"step": "length", "min_answer_chars": 9, "max_answer_chars": 5}),
        "clean[0].min_answer_chars: 9 is more than max_answer_chars, 5: every row would go",
    ),
    "turns that no row has": (
        cleaned({"step": "turns", "min_turns": 5, "max_turns": 2}),
        "clean[0].min_turns: 5 is more than max_turns, 2",
    ),
    "countries without phones": (
        cleaned({"step": "personal_data", "kinds": ["email"], "countries": ["DE"]}),
        "clean[0].countries: is for phone numbers",
    ),
    "token of white space": (
        cleaned({"step": "control_tokens", "tokens": ["  "]}),
        "clean[0].tokens[0]: '  ' is white space",
    ),
    "no metric": (
        edited(datasets__talk={"sources": ["mine"], "metrics": []}),
        "datasets.talk.metrics: is empty",
    ),
    "no test rows to answer": (
        NO_TEST_ROWS,
        "datasets.talk.split.test: is 0, and 'talk-lora' is measured by its answers to test rows",
    ),
    "no test rows to read": (
        {
            **edited(runs__talk_lora__measure=False, suites__s=SUITE),
            "datasets": NO_TEST_ROWS["datasets"],
        },
        "suites.s.dataset: 'talk' has no test rows for its tasks to read",
    ),
    "hub id that climbs": (
        edited(bases={"tiny": {"hub": "../..", "revision": "a" * 40}}),
        "bases.tiny.hub: '../..' is not an id of the form owner/name",
    ),
    "revision with a line end": (
        edited(bases={"tiny": {"hub": "a/b", "revision": "a" * 40 + "\n"}}),
        "is not a commit; pin the full 40 hex digits",
    ),
    "revision of what is made": (
        edited(bases__tiny__revision="a" * 40),
        "bases.tiny.revision: is for a model of the hub",
    ),
    "word of Jinja for a variable": (
        edited(bases__tiny__chat_template_kwargs={"if": 1}),
        "chat_template_kwargs: 'if' can't be a template's variable",
    ),
    "odd heads": (
        made_base(hidden_size=20, num_attention_heads=4),
        "hidden_size: gives heads of width 5; it must be even",
    ),
    "documents over the positions": (
        made_base(sequence_length=2048),
        "make.sequence_length: must not be more than max_position_embeddings",
    ),
    "prefix over the positions": (
        run(method="prompt", measure=False, prompt={"num_virtual_tokens": 1000}),
        "prompt.num_virtual_tokens: 1000 before rows of max_length 512 are more than the 1024",
    ),
    "answers over the positions": (
        training(eval_generation={"max_new_tokens": 1024}),
        "eval_generation.max_new_tokens: 1024 leaves no room for a prompt",
    ),
    "examples over the positions": (
        edited(generation={"max_new_tokens": 1024, "in_context": {"examples": [2]}}),
        "generation.max_new_tokens: 1024 leaves no room for in_context.examples",
    ),
    "a rate of days": (
        edited(latency={"rates": [0.001]}),
        "latency.rates[0]: at 0.001 requests/s the 100 of requests_per_rate take more than a day",
    ),
    "empty name of a module": (run(lora={"target_modules": [""]}), "target_modules[0]: is empty"),
    "all-linear in a list": (
        run(lora={"target_modules": ["all-linear"]}),
        "lora.target_modules: write all-linear without a list",
    ),
    "feedforward beside the targets": (
        run(method="ia3", ia3={"target_modules": ["k_proj"], "feedforward_modules": ["up_proj"]}),
        "ia3.feedforward_modules: 'up_proj' is not among the target_modules",
    ),
    "beginning of an option of the workflow": (
        edited(serve={"extra_args": ["--hos", "0.0.0.0"]}),
        "serve.extra_args: --hos is decided by the workflow",
    ),
    "option and value in one": (
        edited(serve={"extra_args": ["--max-num-seqs 4"]}),
        "serve.extra_args[0]: '--max-num-seqs 4' is an option and its value",
    ),
    "value without an option": (
        edited(serve={"extra_args": ["4"]}),
        "serve.extra_args[0]: '4' is no option",
    ),
    "misspelt option of vLLM": (
        edited(serve={"extra_args": ["--enforce-eager", "--max-nun-seqs", "4"]}),
        "serve.extra_args[1]: vLLM 0.32.0 has no option --max-nun-seqs; did you mean "
        "--max-num-seqs?",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_without_sense_is_told(name, tmp_path):
    assert_one_fault(tmp_path, *REFUSED[name])


UNHEEDED = {
    "epochs beside steps": (
        training(max_steps=5, num_train_epochs=2),
        "runs.talk-lora.training.num_train_epochs: has no effect beside max_steps",
    ),
    "warm-up of a constant": (
        training(lr_scheduler_type="constant", warmup_ratio=0.1),
        "training.warmup_ratio: has no effect with lr_scheduler_type constant",
    ),
    "best of a mean": (
        training(average_checkpoints=3, load_best_model_at_end=True),
        "load_best_model_at_end: has no effect beside average_checkpoints",
    ),
    "strategy of one": (run(launch={"strategy": "fsdp"}), "launch.strategy: has no effect"),
    "evaluations of nothing": (
        {
            **training(eval_steps=5),
            "datasets": {"talk": {**GOOD["datasets"]["talk"], "split": {"validation": 0}}},
        },
        "training.eval_steps: has no effect, for the dataset has no validation rows",
    ),
    "requests without rates": (
        edited(latency={"requests_per_rate": 50}),
        "latency.requests_per_rate: has no effect with no rates",
    ),
    "share of no limit": (
        edited(latency={"slo": {"attainment": 0.5}}),
        "latency.slo.attainment: has no effect with no limit",
    ),
    "choice of no examples": (
        edited(generation={"in_context": {"choose": "similar"}}),
        "generation.in_context.choose: has no effect with no examples",
    ),
    "pool of a draw": (
        edited(generation={"in_context": {"examples": [2], "pool": 9}}),
        "generation.in_context.pool: has no effect with choose random",
    ),
    "length of no recital": (
        edited(memorisation={"rows": 0, "max_tokens": 5}),
        "memorisation.max_tokens: has no effect with rows 0",
    ),
    "adapters that nobody serves": (
        edited(serve={"lora": {"max_loras": 9}}),
        "serve.lora: has no effect with no run that has serve: adapter",
    ),
    "search that is off": (
        edited(
            datasets__talk={"sources": ["mine"], "decontaminate": {"action": "off", "ngram": 5}}
        ),
        "datasets.talk.decontaminate.ngram: has no effect with action off",
    ),
    "bound of times": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": {"times": 9, "max_times": 2}}}),
        "datasets.talk.mix.mine.max_times: has no effect with times",
    ),
    "shingles of equal prompts": (
        cleaned({"step": "conflicts", "ngram": 5}),
        "datasets.talk.clean[0].ngram: has no effect with equal prompts",
    ),
    "judge who is not asked": (
        made(rank="longest", rubric="y"),
        "sources.new.make.rubric: has no effect with rank longest",
    ),
    "source that nothing names": (
        edited(sources__spare={"path": "rows.jsonl"}),
        "sources.spare: is named by nothing",
    ),
    "suite that nothing names": (
        edited(suites={"s": {"tasks": ["mmlu"]}}),
        "suites.s: is named by",
    ),
}


@pytest.mark.parametrize("name", UNHEEDED)
def test_a_setting_that_does_nothing_is_told_and_taken(name, tmp_path):
    config, sentence = UNHEEDED[name]
    told = load(tmp_path, config)["unheeded"]
    assert [said for said in told if sentence in said], told


@pytest.mark.parametrize(
    "config",
    [
        GOOD,
        run(sweep={"lora": [{"r": 8}, {"r": 16}]}),
        run(sweep={"training.max_steps": [5, 9]}, training={"num_train_epochs": 2}),
        run(sweep={"launch": [{"strategy": "fsdp"}]}, launch={"strategy": "fsdp"}),
        run(sweep={"training.eval_generation": [None, {"rows": 8}]}),
        edited(serve={"extra_args": ["--max-num-seqs", "4", "--enforce-eager", "-O3"]}),
        edited(datasets__talk={"sources": ["mine"], "clean": [{"step": "conflicts", "near": 0.8}]}),
    ],
)
def test_what_has_an_effect_is_taken_without_a_word(config, tmp_path):
    assert load(tmp_path, config)["unheeded"] == []


def test_a_group_in_a_sweep_has_the_defaults_of_its_other_keys(tmp_path):
    runs = load(tmp_path, run(sweep={"lora": [{"r": 8}]}))["runs"]
    assert [one["lora"]["lora_alpha"] for one in runs.values()] == [32]


def test_numbers_within_braces_of_the_command_line_are_numbers(tmp_path):
    """Snakemake hands on what stands within braces as text."""
    load(tmp_path, GOOD)
    given = {"latency": {"concurrency": ["1", "2"]}, "runs": {"talk-lora": {"measure": "false"}}}
    given["runs"]["talk-lora"]["training"] = {"learning_rate": "2e-4", "max_steps": "null"}
    config = load_config([tmp_path / "config.yaml"], given)
    assert config["latency"]["concurrency"] == [1, 2]
    run = config["runs"]["talk-lora"]
    assert (run["measure"], run["training"]["learning_rate"]) == (False, 2e-4)


def test_a_number_of_the_command_line_that_can_be_none(tmp_path):
    load(tmp_path, GOOD)
    with pytest.raises(ConfigFault, match="--config: '1e999' can't be a number"):
        load_config([tmp_path / "config.yaml"], {"latency": {"seed": "1e999"}})


@pytest.mark.parametrize("model", ["tiny", "talk-lora"])
def test_heads_that_a_cpu_can_not_serve_are_known_before_the_server_starts(model, tmp_path):
    config = load(tmp_path, made_base(hidden_size=64, num_attention_heads=4))
    said = "bases.tiny.make.hidden_size: gives heads of width 16, which vLLM serves on a GPU only"
    assert said in unserved_on_cpu(config, model)
    assert unserved_on_cpu(load(tmp_path, GOOD), model) is None


@pytest.mark.skipif(gpu_count() > 0, reason="this machine has a GPU")
def test_they_are_told_below_the_plan(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "c.yaml").write_text(json.dumps(made_base(hidden_size=64, num_attention_heads=4)))
    work = ("--configfile", tmp_path / "c.yaml", "--directory", tmp_path / "work")
    done = snakemake("-n", "--quiet", *work)
    assert done.returncode == 0, done.stderr
    assert "serve: bases.tiny.make.hidden_size: gives heads of width 16" in done.stderr


def test_a_number_is_one_setting_however_it_is_written(tmp_path):
    """Manifests name settings: 8.0 for 8 would be another file, and make what reads it stale."""
    found = [
        load(tmp_path, edited(datasets__talk__split={"validation": value, "test": 4}))
        for value in (8, 8.0)
    ]
    assert repr(found[0]) == repr(found[1])


def test_whole_bounds_of_a_search_stay_fractions_if_written_so(tmp_path):
    for low, high, kind in ((0, 1, int), (0.0, 1.0, float)):
        space = {"training.weight_decay": {"low": low, "high": high}}
        run = load(tmp_path, edited(runs__talk_lora__search={"space": space, "trials": 2}))["runs"][
            "talk-lora"
        ]
        assert type(run["search"]["space"]["training.weight_decay"]["high"]) is kind
