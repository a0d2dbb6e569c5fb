from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from sftflow.stage import StageError
from sftflow.suites import (
    check_metrics,
    folder_tasks,
    missing_files,
    placeless_files,
    question_files,
    unknown_task,
    with_places,
    without_unread_splits,
)

TASKS = Path(__file__).parents[2] / "config" / "tasks"


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_tasks_are_sound():
    names = [path.stem for path in TASKS.glob("*.yaml")]
    tasks = folder_tasks(TASKS, names)
    check_metrics(tasks, ["acc", "exact_match", "json_valid", "json_fields", "numeric_answer"])
    for name, settings in tasks.items():
        assert settings["task"] == name
        files = with_places(settings, {"dataset": Path("d"), "folder": TASKS})["dataset_kwargs"]
        assert files["data_files"]["test"] in ("d/test.parquet", f"{TASKS}/gsm8k_test.jsonl")


def test_gsm8k_is_put_and_scored_as_lm_evals_own():
    theirs = Path(find_spec("lm_eval").origin).parent / "tasks/gsm8k/gsm8k.yaml"
    own = yaml.safe_load(theirs.read_text(encoding="utf-8"))
    ours = folder_tasks(TASKS, ["gsm8k_local"])["gsm8k_local"]
    differs = {key for key in own.keys() | ours.keys() if own.get(key) != ours.get(key)}
    places = {"task", "tag", "dataset_path", "dataset_name", "dataset_kwargs"}
    assert differs == {*places, "num_fewshot"}


def test_a_file_beside_a_task_is_asked_for_only_if_it_is_read(tmp_path):
    write(tmp_path, "t.yaml", (TASKS / "gsm8k_local.yaml").read_text(encoding="utf-8"))
    (said,) = missing_files(tmp_path, ["gsm8k_local"], None)
    assert said.startswith(f"task gsm8k_local reads {tmp_path}/gsm8k_test.jsonl, which is not")
    write(tmp_path, "gsm8k_test.jsonl", "{}")
    assert list(missing_files(tmp_path, ["gsm8k_local"], None)) == []
    assert ["gsm8k_train" in said for said in missing_files(tmp_path, ["gsm8k_local"], 5)] == [True]
    task = folder_tasks(tmp_path, ["gsm8k_local"])["gsm8k_local"]
    alone, shown = (without_unread_splits(task, n) for n in (None, 5))
    assert list(alone["dataset_kwargs"]["data_files"]) == ["test"]
    assert "fewshot_split" not in alone and "training_split" not in alone
    assert shown == task


def test_a_file_below_no_place_is_read_where_it_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("asked.jsonl", "shots.jsonl", "sets/mine/a.parquet", "json"):
        write(tmp_path, name, "{}")
    files = {"test": str(tmp_path / "asked.jsonl"), "train": ["shots.jsonl", "none.jsonl"]}
    task = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        "fewshot_split": "train",
    }
    assert placeless_files({"t": task}, 0) == [str(tmp_path / "asked.jsonl")]
    assert placeless_files({"t": task}, 2) == [str(tmp_path / "asked.jsonl"), "shots.jsonl"]
    assert placeless_files({"t": {"dataset_path": "sets/mine"}}, 0) == ["sets/mine"]
    assert question_files({"t": task}, None) == [str(tmp_path / "asked.jsonl")]


def test_unknown_task_names_the_nearest():
    with pytest.raises(StageError, match=r"'tickets_jsn'.*did you mean tickets_json"):
        folder_tasks(TASKS, ["tickets_jsn"])
    assert unknown_task(["gsm8kk"], ["gsm8k", "mmlu"], "lm-eval").endswith("did you mean gsm8k?")
    assert unknown_task(["zzz"], ["gsm8k", "mmlu"], "x").endswith("there are 2 others")
    assert unknown_task(["mmlu"], ["gsm8k", "mmlu"], "x") is None


@pytest.mark.parametrize(
    "text",
    [
        "task: t\nprocess_docs: !function utils.run",
        "task: t\nfewshot_config: {samples: !function utils.run}",
        "task: t\nclass: !function utils.Task",
        "task: t\nmetric_list: [{metric: !function utils.run}]",
        "task: t\nmetric_list: [{metric: x, hf_evaluate: true}]",
        "task: t\ninclude: below/other",
    ],
)
def test_task_code_is_refused_and_not_run(tmp_path, text):
    write(tmp_path, "utils.py", f"open({str(tmp_path / 'ran')!r}, 'w')\ndef run(x): return x")
    write(tmp_path, "below/other", "process_docs: !function utils.run")
    write(tmp_path, "t.yaml", text)
    with pytest.raises(StageError, match="names Python code"):
        folder_tasks(tmp_path, ["t"])
    assert not (tmp_path / "ran").exists()


def test_includes_are_merged_and_local_keys_win(tmp_path):
    write(tmp_path, "a.inc", "x: 1\ny: 1")
    write(tmp_path, "b.inc", "y: 2\nz: 2")
    write(tmp_path, "t.yaml", "task: t\ninclude: [a.inc, b.inc]\nz: 3\ntag: group")
    assert folder_tasks(tmp_path, ["t"])["t"] == {"task": "t", "x": 1, "y": 2, "z": 3}


def test_a_circle_of_includes_is_an_error(tmp_path):
    write(tmp_path, "t.yaml", "task: t\ninclude: t.yaml")
    with pytest.raises(StageError, match="includes itself"):
        folder_tasks(tmp_path, ["t"])


def test_places():
    settings = {"task": "t", "dataset_kwargs": {"data_files": {"test": ["{folder}/{dataset}.x"]}}}
    places = {"folder": Path("f"), "dataset": Path("d")}
    filled = with_places(settings, places)
    assert filled["dataset_kwargs"] == {"data_files": {"test": ["f/d.x"]}}
    assert settings["dataset_kwargs"]["data_files"]["test"] == ["{folder}/{dataset}.x"]
    with pytest.raises(StageError, match=r"task t reads .*names no dataset"):
        with_places(settings, {**places, "dataset": None})


def test_unknown_metric_is_not_looked_for_elsewhere():
    with pytest.raises(
        StageError, match="task t: no metric 'json_vald'; did you mean 'json_valid'"
    ):
        check_metrics({"t": {"metric_list": [{"metric": "json_vald"}]}}, ["acc", "json_valid"])


@pytest.mark.parametrize("text", ["- a list", "task: [", ""])
def test_files_that_are_no_task(tmp_path, text):
    write(tmp_path, "bad.yaml", text)
    with pytest.raises(StageError):
        folder_tasks(tmp_path, ["bad"])
