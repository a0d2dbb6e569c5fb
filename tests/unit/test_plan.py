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
            "serve": "merged",
            "quantize": [],
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


def served(**how):
    """Return CONFIG with other forms of serving some runs."""
    runs = {name: {**run, "serve": how.get(name, "merged")} for name, run in CONFIG["runs"].items()}
    return {**CONFIG, "runs": runs, "comparisons": [], "people": {"p": {"models": None}}}


def test_each_form_of_a_run_is_a_model_of_its_own():
    config = served(three="adapter", long="both")
    known = plan.models(config)
    assert known == ["tiny", "one", "two", "three+adapter", "long", "long+adapter"]
    assert plan.merged_runs(config) == ["one", "two", "long"]
    assert plan.tuned_models(config) == known[1:]
    assert [plan.run_of(config, model) for model in known[-3:]] == ["three", "long", "long"]
    assert plan.start_of(config, "two") == "one" and plan.start_of(config, "tiny") is None
    assert plan.ancestry(config, "long+adapter") == ["long+adapter", "tiny"]
    assert plan.model_folder(config, "long+adapter") == "results/models/tiny"
    assert plan.model_folder(config, "long") == "results/models/long"


def test_adapters_of_one_start_model_share_a_server():
    config = served(two="adapter", three="adapter", long="both")
    assert plan.adapter_starts(config) == ["one", "tiny"]
    assert plan.adapters_on(config, "tiny") == ["three+adapter", "long+adapter"]
    assert plan.adapters_on(config, "one") == ["two+adapter"]
    assert plan.adapter_starts(CONFIG) == []


def test_an_adapter_is_measured_as_its_run_is_and_compared_with_its_merged_form():
    config = served(one="both", two="adapter")
    assert plan.model_suites(config, "one") == ["s", "t"]  # two starts from it
    assert plan.model_suites(config, "one+adapter") == ["s"]  # and not from that
    assert plan.model_datasets(config, "two+adapter") == ["b"]
    pairs = plan.comparisons(config)
    assert ("one+adapter", "tiny") in pairs and ("one+adapter", "one") in pairs
    assert [pair for pair in pairs if pair[0] == "two+adapter"] == [("two+adapter", "one")]


def quantized(**schemes):
    """Return CONFIG with exports of some runs."""
    config = served()
    for name, asked in schemes.items():
        config["runs"][name]["quantize"] = asked
    return config


def test_a_quantised_export_is_a_model_of_its_run():
    config = quantized(one=["w8a8"], long=["w4a16", "w8a8"])
    known = plan.models(config)
    exports = ["one+w8a8", "long+w4a16", "long+w8a8"]
    assert known == ["tiny", "one", exports[0], "two", "three", "long", *exports[1:]]
    assert plan.quantized_models(config) == exports
    assert [plan.form_of(model) for model in ("long", *exports)] == [None, "w8a8", "w4a16", "w8a8"]
    assert plan.start_of(config, "long+w8a8") == plan.root_base(config, "long+w8a8") == "tiny"
    assert plan.model_folder(config, "long+w8a8") == "results/models/long+w8a8"
    assert plan.merged_runs(config) == ["one", "two", "three", "long"]
    assert plan.adapter_starts(config) == []


def test_a_quantised_export_is_measured_as_its_run_and_compared_with_the_merged_model():
    config = quantized(one=["w8a8"])
    assert plan.model_suites(config, "one+w8a8") == ["s"]  # two starts from the merged model
    assert plan.model_keys(config, "one+w8a8") == [plan.templated_key(config, "one")]
    mine = [pair for pair in plan.comparisons(config) if pair[0] == "one+w8a8"]
    assert mine == [("one+w8a8", "tiny"), ("one+w8a8", "one")]
    assert "one+w8a8" not in plan.sheet_models(config, "p")
    config["runs"]["one"]["measure"] = False
    assert plan.quantized_models(config) == []


def test_judges_and_people_see_one_form_of_a_run():
    config = {**served(one="both", three="adapter"), "judges": {"j": {"pairs": None}}}
    judged = list(plan.judged_pairs(config, "j"))
    assert judged == ["one.vs.tiny", "two.vs.one", "three+adapter.vs.tiny", "long.vs.tiny"]
    assert plan.sheet_models(config, "p") == ["tiny", "one", "two", "three+adapter", "long"]


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
        "first": {"base": "b", "dataset": "d", "suites": ["s"]},
        "second": {"base": "first", "dataset": "e", "suites": ["t"]},
    }
    settings = {"measure": True, "serve": "merged", "quantize": []}
    runs = {name: {**run, **settings} for name, run in runs.items()}
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
