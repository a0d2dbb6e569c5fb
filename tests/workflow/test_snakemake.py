"""The graph and the command line, as Snakemake itself sees them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml
from dryruns import jobs_and_groups, planned, project, snakemake

REPO = Path(__file__).parents[2]
SHIPPED = [REPO / "config/config.yaml", *sorted((REPO / "config/examples").glob("*.yaml"))]


@pytest.mark.parametrize("config", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_config_dry_runs(config, tmp_path):
    jobs = planned("--configfile", config, "--directory", tmp_path)
    assert jobs["build_report"] == jobs["summarize_results"] == 1
    trained = jobs["train_adapter"] + jobs["train_preferences"] + jobs["choose_trial"]
    assert trained == jobs["merge_adapter"] >= 1
    assert jobs["template_preferences"] == jobs["train_preferences"] == (config.stem == "dpo")


def test_the_default_graph(tmp_path):
    assert planned("--directory", tmp_path) == Counter(
        ingest_source=3,
        clean_dataset=1,
        split_dataset=1,
        find_contamination=1,
        report_dataset=1,
        prepare_base=1,
        template_data=1,
        train_adapter=1,
        merge_adapter=1,
        serve_model=2,
        measure_latency=2,
        run_benchmark=2,
        generate_answers=2,
        score_answers=2,
        measure_loss=2,
        judge_run=1,
        compare_models=1,
        summarize_results=1,
        check_gates=1,
        keep_history=1,
        build_report=1,
        all=1,
    )


def test_a_gate_needs_rules_and_says_so_before_any_job(tmp_path):
    sweep = REPO / "config/examples/sweep.yaml"
    done = snakemake("-n", "gate", "--configfile", sweep, "--directory", tmp_path)
    assert done.returncode
    assert "config error: gates.rules: has no rule that a model could pass" in done.stderr


def test_a_sweep_shares_what_is_the_same(tmp_path):
    jobs = planned("--configfile", REPO / "config/examples/sweep.yaml", "--directory", tmp_path)
    assert jobs["train_adapter"] == 6
    assert jobs["serve_model"] == 7  # six runs and their one base
    assert jobs["template_data"] == jobs["clean_dataset"] == jobs["prepare_base"] == 1


def test_of_a_search_only_the_best_is_merged_and_measured(tmp_path):
    jobs = planned("--configfile", REPO / "config/examples/search.yaml", "--directory", tmp_path)
    assert (jobs["suggest_round"], jobs["train_trial"]) == (3, 12)
    assert jobs["choose_trial"] == jobs["list_trials"] == jobs["merge_adapter"] == 1
    assert jobs["serve_model"] == 2  # the best trial and the base
    assert jobs["train_adapter"] == 0


@pytest.mark.parametrize(
    ("dataset", "suites", "expected"),
    [
        ({}, [], (0, 0)),
        ({}, ["tickets"], (1, 0)),
        ({"decontaminate": {"action": "off"}}, ["tickets"], (0, 0)),
        ({"decontaminate": {"action": "drop"}}, ["tickets"], (1, 1)),
        ({"mix": {"chat": {"ratio": 0.5}}}, ["tickets"], (1, 1)),
        ({"mix": {"chat": {"ratio": 0.5}}}, [], (0, 1)),
    ],
)
def test_only_who_asks_for_it_is_compared_and_mixed(dataset, suites, expected, tmp_path):
    def edit(config):
        config["datasets"]["tickets"] |= dataset
        config["runs"]["tickets-lora"]["suites"] = suites
        del config["gates"]  # they ask for a benchmark

    jobs = planned("--configfile", project(tmp_path, edit), "--directory", tmp_path / "work")
    assert (jobs["find_contamination"], jobs["mix_dataset"]) == expected


@pytest.mark.parametrize(
    ("rule", "looked_for"), [("tickets.exact_match >= 0.9", 0), ("no known fault", 1)]
)
def test_who_asks_for_known_faults_waits_for_the_benchmark_questions(rule, looked_for, tmp_path):
    config = project(tmp_path, lambda config: config["gates"].update(rules=[rule]))
    where = ("--configfile", config, "--directory", tmp_path / "work")
    assert planned("results/gates.json", *where)["find_contamination"] == looked_for


def test_only_a_dataset_with_embeddings_has_a_map(tmp_path):
    def edit(config):
        step = {"step": "semantic_duplicates", "model": "owner/name", "revision": "0" * 40}
        config["datasets"]["tickets"]["clean"].append(step)
        config["datasets"]["plain"] = {"sources": ["chat"]}
        config["runs"]["plain"] = {"base": "tiny", "dataset": "plain", "max_length": 512}

    jobs = planned("--configfile", project(tmp_path, edit), "--directory", tmp_path / "work")
    assert (jobs["map_dataset"], jobs["report_dataset"]) == (1, 2)


def test_tokens_are_made_of_the_mix_and_the_test_rows_are_not(tmp_path):
    def edit(config):
        config["datasets"]["tickets"]["mix"] = {"chat": {"rows": 50}}

    config = project(tmp_path, edit)
    said = snakemake("-n", "--configfile", config, "--directory", tmp_path / "work").stdout
    assert (
        "results/datasets/tickets/mixed/train.parquet, results/datasets/tickets/mixed/val" in said
    )
    assert "results/datasets/tickets/mixed/test.parquet" not in said


def test_a_made_source_is_read_like_any_other(tmp_path):
    def edit(config):
        endpoint = {"base_url": "http://host/v1", "model": "m", "api_key_env": "NOT_SET"}
        shared = {"endpoint": endpoint, "limits": {"concurrency": 3}}
        config["sources"] |= {
            "distilled": {"make": {"method": "best_of_n", "from": "data/prompts.jsonl", **shared}},
            "reworded": {"make": {"method": "rewrite", "from": "distilled", **shared}},
        }
        config["datasets"]["tickets"]["sources"] += ["reworded"]

    config = project(tmp_path, edit)
    done = snakemake("-n", "-p", "--configfile", config, "--directory", tmp_path / "work")
    said = done.stdout
    commands = [line for line in said.splitlines() if "scripts/make_source.py" in line]
    assert len(commands) == said.count("rule make_source:") == 2
    assert said.count("rule ingest_source:") == 5
    assert "--seeds results/sources/distilled/records.parquet" in commands[1]
    assert "prompts.jsonl" in commands[0]
    specs = [line.split("--spec ")[1].split(" --log")[0] for line in commands]
    assert not any(word in spec for spec in specs for word in ("NOT_SET", "concurrency"))
    assert all("NOT_SET" in line.split("--limits ")[1] for line in commands)
    assert "    input: results/sources/reworded/made/made.jsonl" in said


def test_a_base_that_makes_data_is_served_for_that_alone(tmp_path):
    """Sources that don't rest on each other share a start; measuring has a server of its own."""

    def edit(config):
        here = {"endpoint": {"model": "tiny"}}
        answered = {"method": "best_of_n", "from": "data/prompts.jsonl", **here}
        config["sources"] |= {
            "answered": {"make": answered},
            "refused": {"make": {**answered, "method": "refusals"}},
            "reworded": {"make": {"method": "rewrite", "from": "answered", **here}},
        }
        config["datasets"]["tickets"]["sources"] += ["refused", "reworded"]
        config["serve"] = {"cpu_kvcache_gib": 2}

    config = project(tmp_path, edit)
    done = snakemake("-n", "-p", "--configfile", config, "--directory", tmp_path / "work")
    assert done.returncode == 0, done.stderr
    jobs, groups = jobs_and_groups(done.stdout)
    assert [group for group in groups if not any("serve_model" in job for job in group)] == [
        {"make_source answered", "make_source refused", "serve_generator tiny made0"},
        {"make_source reworded", "serve_generator tiny made1"},
    ]
    assert {"prepare_base tiny", "serve_model tiny", "serve_model tickets-lora"} <= jobs
    assert sum(job.startswith("serve_generator") for job in jobs) == 2
    commands = [line for line in done.stdout.splitlines() if "scripts/make_source.py" in line]
    assert len(commands) == 3
    for command in commands:
        assert "--endpoint results/generators/tiny/made" in command
        assert "--model results/models/tiny " in command
        spec = command.split("--spec ")[1].split(" --log")[0]
        assert '"dtype":"auto"' in spec
        assert "base_url" not in spec and "cpu_kvcache_gib" not in spec


def test_a_base_that_judges_is_served_for_all_datasets_at_once(tmp_path):
    def edit(config):
        judge = {"step": "judge", "model": "tiny", "min_score": 3, "on_unreadable": "keep"}
        make = {"method": "refusals", "from": "crm", "endpoint": {"model": "tiny"}}
        config["sources"]["refused"] = {"make": make}
        config["datasets"]["judged"] = {"sources": ["refused"], "clean": [judge]}
        config["datasets"]["tickets"]["clean"].append(judge)
        config["datasets"]["plain"] = {"sources": ["crm"]}

    config = project(tmp_path, edit)
    options = ("--configfile", config, "--directory", tmp_path / "work")
    done = snakemake("-n", "-p", *options, "data")
    assert done.returncode == 0, done.stderr
    _, groups = jobs_and_groups(done.stdout)
    assert groups == [
        {"clean_dataset judged", "clean_dataset tickets", "serve_generator tiny judge"},
        {"make_source refused", "serve_generator tiny made0"},
    ]
    commands = {
        line.split('"dataset":"')[1].split('"')[0]: line.split("--endpoint")[1].split("--sources")[
            0
        ]
        for line in done.stdout.splitlines()
        if "scripts/clean_dataset.py" in line
    }
    here = " results/generators/tiny/judge.json --model results/models/tiny "
    assert commands["judged"] == commands["tickets"] == here
    assert commands["plain"].split() == ["--model"]


def test_only_the_data_starts_no_other_server(tmp_path):
    def edit(config):
        make = {"method": "refusals", "from": "data/prompts.jsonl", "endpoint": {"model": "other"}}
        config["bases"]["other"] = {**config["bases"]["tiny"]}
        config["sources"]["refused"] = {"make": make}
        config["datasets"]["tickets"]["sources"] += ["refused"]

    config = project(tmp_path, edit)
    jobs = planned("--configfile", config, "--directory", tmp_path / "work", "data")
    assert (jobs["prepare_base"], jobs["serve_generator"], jobs["serve_model"]) == (1, 1, 0)
    everything = planned("--configfile", config, "--directory", tmp_path / "work")
    assert everything["prepare_base"] == 2  # the base that makes data is not measured
    assert (everything["serve_generator"], everything["serve_model"]) == (1, 2)


def test_a_kept_order_is_part_of_a_run_and_of_no_other(tmp_path):
    def edit(config):
        run = config["runs"]["tickets-lora"]
        config["runs"]["curriculum"] = {**run, "order": "short_first"}

    config = project(tmp_path, edit)
    said = snakemake("-n", "-p", "--configfile", config, "--directory", tmp_path / "work").stdout
    specs = [line for line in said.splitlines() if "scripts/train_adapter.py" in line]
    assert sorted('"order":"short_first"' in spec for spec in specs) == [False, True]
    assert sum('"order"' in spec for spec in specs) == 1


def test_what_is_only_trained_is_neither_merged_nor_served(tmp_path):
    def edit(config):
        run = {**config["runs"]["tickets-lora"], "suites": []}
        plain = {key: value for key, value in run.items() if key != "lora"}
        config["runs"] |= {
            "prefix": {**plain, "method": "prefix", "measure": False},
            "first": {**run, "measure": False},  # merged all the same: second starts from it
            "second": {**run, "base": "first", "measure": False},
        }

    config = project(tmp_path, edit)
    command = ("--configfile", config, "--directory", tmp_path / "work")
    done = snakemake("-n", "-p", *command).stdout
    assert done.count("rule train_adapter:") == 4
    assert done.count("rule merge_adapter:") == 2
    assert done.count("rule serve_model:") == 2  # tiny, tickets-lora
    said = [line for line in done.splitlines() if "scripts/train_adapter.py" in line]
    second = next(line for line in said if '"run":"second"' in line)
    assert "--model results/models/first " in second
    prefix = next(line for line in said if '"run":"prefix"' in line)
    assert '"prefix":{"encoder_hidden_size":null,"num_virtual_tokens":20}' in prefix
    assert not any('"prefix":{' in line for line in said if line != prefix)


def test_a_grid_of_fifty_runs_makes_once_what_is_the_same(tmp_path):
    config = yaml.safe_load((REPO / "config/config.yaml").read_text())
    rates = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4]
    grid = {"lora.r": [2, 4, 8, 16, 32, 64, 3, 5, 6, 7], "training.learning_rate": rates}
    config["runs"]["tickets-lora"]["sweep"] = grid
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for part in ("data", "config"):
        (tmp_path / part).symlink_to(REPO / part)
    jobs = planned("--configfile", tmp_path / "config.yaml", "--directory", tmp_path / "work")
    assert jobs["train_adapter"] == 50
    assert jobs["serve_model"] == 51  # the base is measured once for all of them
    shared = ("clean_dataset", "split_dataset", "prepare_base", "template_data", "build_report")
    assert [jobs[rule] for rule in shared] == [1] * 5
    assert jobs["ingest_source"] == 3


def test_no_command_is_longer_than_an_argument_may_be(tmp_path):
    """Linux takes 131,072 bytes; what the report is told of 150 runs is 200,000."""

    def edit(config):
        rates = [round(1e-5 * (i + 1), 6) for i in range(150)]
        config["runs"]["tickets-lora"] |= {"sweep": {"training.learning_rate": rates}}
        config["runs"]["tickets-lora"] |= {"measure": False, "suites": []}
        del config["gates"]

    options = ("--configfile", project(tmp_path, edit), "--directory", tmp_path / "work")
    done = snakemake("-n", "-p", *options)
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if "/scripts/" in line]
    assert len(commands) > 150
    assert max(map(len, commands)) < 40_000
