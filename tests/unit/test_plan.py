from sftflow import plan

CONFIG = {
    "bases": {"tiny": {}, "unused": {}},
    "datasets": {"a": {}, "b": {}},
    "runs": {
        name: {
            "base": base,
            "dataset": dataset,
            "max_length": length,
            "overlong": "drop",
            "train_on": "all",
            "reasoning": "train",
            "suites": suites,
            "measure": True,
        }
        for name, base, dataset, length, suites in [
            ("one", "tiny", "a", 64, ["s"]),
            ("two", "one", "b", 64, ["t", "s"]),
            ("three", "tiny", "a", 64, []),
            ("long", "tiny", "a", 128, []),
        ]
    },
}


def test_models_are_the_runs_and_the_bases_that_some_run_uses():
    assert plan.models(CONFIG) == ["tiny", "one", "two", "three", "long"]


def test_a_base_is_measured_by_all_that_its_descendants_are_measured_by():
    assert plan.model_suites(CONFIG, "tiny") == ["s", "t"]
    assert plan.model_suites(CONFIG, "one") == ["s", "t"]
    assert plan.model_suites(CONFIG, "two") == ["t", "s"]
    assert plan.model_datasets(CONFIG, "tiny") == ["a", "b"]
    assert plan.model_datasets(CONFIG, "three") == ["a"]


def test_a_run_that_is_only_trained_is_no_model():
    runs = {name: {**run, "measure": name != "two"} for name, run in CONFIG["runs"].items()}
    config = {**CONFIG, "runs": runs}
    assert plan.models(config) == ["tiny", "one", "three", "long"]
    assert plan.merged_runs(config) == ["one", "three", "long"]
    assert plan.model_suites(config, "tiny") == ["s"]
    assert plan.model_datasets(config, "tiny") == ["a"]
    for run in runs.values():
        run["measure"] = False
    assert plan.models(config) == []
    assert plan.merged_runs(config) == ["one"]  # two is trained, and starts from it


def test_a_run_may_start_from_a_run():
    assert plan.ancestry(CONFIG, "two") == ["two", "one", "tiny"]
    assert plan.root_base(CONFIG, "two") == "tiny"


def test_runs_that_need_the_same_tokens_share_them():
    keys = {run: plan.templated_key(CONFIG, run) for run in CONFIG["runs"]}
    assert keys["one"] == keys["three"]
    assert len(set(keys.values())) == 3
    thinking = {**CONFIG["runs"], "one": {**CONFIG["runs"]["one"], "reasoning": "drop"}}
    assert plan.templated_key({**CONFIG, "runs": thinking}, "one") not in keys.values()


def test_names_of_a_sweep_are_names():
    config = {"runs": {"g": {"sweep": {"x.y": [1e-05, "All Linear", ["q", "v"]]}, "x": {"y": 1}}}}
    assert plan.expand_sweeps(config) == []
    assert list(config["runs"]) == ["g.y-1e-05", "g.y-all_linear", "g.y-q_v"]


def test_a_dataset_is_compared_with_the_suites_of_all_that_it_goes_into():
    runs = {
        "first": {"base": "b", "dataset": "d", "suites": ["s"], "measure": True},
        "second": {"base": "first", "dataset": "e", "suites": ["t"], "measure": True},
    }
    datasets = {
        name: {"mix": {}, "decontaminate": {"action": action}}
        for name, action in (("d", "warn"), ("e", "drop"), ("f", "warn"), ("g", "off"))
    }
    config = {"runs": runs, "datasets": datasets}
    # What is trained on d is measured as the start of "second", too.
    assert plan.dataset_suites(config, "d") == ["s", "t"]
    assert plan.dataset_suites(config, "e") == ["t"]
    assert [plan.checks_questions(config, name) for name in "defg"] == [True, True, False, False]
    folders = {name: plan.training_folder(config, name) for name in "def"}
    assert folders["e"] == "results/datasets/e/mixed"
    assert folders["d"] == "results/datasets/d"
    datasets["f"]["mix"] = {"x": {"times": 2}}
    assert plan.training_folder(config, "f") == "results/datasets/f/mixed"
