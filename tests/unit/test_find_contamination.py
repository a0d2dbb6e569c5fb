"""The search for benchmark questions, as it is called, with tasks of a local folder."""

import json
from types import SimpleNamespace

import pytest

import find_contamination
from sftflow.questions import question_text
from sftflow.records import RECORD, content_id, message, read_rows, write_table
from sftflow.stage import StageError
from sftflow.suites import question_files, question_settings

TASK = """\
task: TASK
dataset_path: KIND
dataset_kwargs: { data_files: { train: "FILES", test: "PLACE" } }
test_split: test
fewshot_split: train
num_fewshot: 2
output_type: generate_until
doc_to_text: "TEXT"
doc_to_target: "TARGET"
generation_kwargs: { until: [], max_gen_toks: 4 }
"""
ASKED = [
    "A farmer has seventeen sheep and all but nine of them run away, how many are left?",
    "Which planet of the solar system has the most moons that we know of today?",
    "请问在中国历史上哪一个朝代最早开始修建万里长城，它又是在什么时候最后完成的？",
]
HEAD = {"suites": {}, "dataset": "d", "ngram": 13, "coverage": 0, "own_coverage": 0.8}


def record(prompt, number=1):
    said = [message("user", prompt), message("assistant", "well")]
    one = {"messages": said, "tools": None}
    return {"id": content_id(one), "source": "s", "file": "f", "row": number, **one}


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return a project with two datasets and a folder with two tasks."""
    monkeypatch.setenv("SFTFLOW_ROOT", str(tmp_path))
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for name, kind, place, text, target in (
        ("foreign", "json", "{folder}/asked.jsonl", "Question: {{q}} Answer:", "{{a}}"),
        ("own", "parquet", "{dataset}/test.parquet", "{{messages[0].content}}", "{{row}}"),
    ):
        said = TASK.replace("TASK", name, 1).replace("KIND", kind).replace("PLACE", place)
        said = said.replace("FILES", place.replace("test", "train").replace("asked", "gone"))
        said = said.replace("TEXT", text).replace("TARGET", target)
        (tasks / f"{name}.yaml").write_text(said)
    lines = [json.dumps({"q": q, "a": "1"}, ensure_ascii=False) for q in ASKED]
    (tasks / "asked.jsonl").write_text("\n".join(lines) + "\n")
    for dataset in ("d", "e"):
        folder = tmp_path / "datasets" / dataset
        folder.mkdir(parents=True)
        held = [
            record("Tell me in short why the sky over the sea is blue in the morning hours of May")
        ]
        write_table(folder / "test.parquet", held, RECORD)
    return tmp_path


def suite(*tasks, dataset="d"):
    return {"folder": "tasks", "tasks": list(tasks), "dataset": dataset}


def run(work, prompts, **suites):
    rows = [record(prompt, number) for number, prompt in enumerate(prompts, 1)]
    write_table(work / "datasets/d/train.parquet", rows, RECORD)
    argv = ["--spec", json.dumps({**HEAD, "suites": suites}), "--datasets", str(work / "datasets")]
    argv += ["--train", str(work / "datasets/d/train.parquet")]
    argv += ["--matches", str(work / "m.parquet"), "--report", str(work / "contamination.json")]
    find_contamination.main(argv)
    return json.loads((work / "contamination.json").read_text())


def test_planted_questions_are_found_with_their_words(work):
    prompts = ["Say hello to the world in the three oldest languages that you can think of."]
    prompts += [f"Help me: {ASKED[0]}", ASKED[1], ASKED[2]]
    said = run(work, prompts, q=suite("foreign"))
    assert [(m["row"], m["suite"], m["task"], m["doc"]) for m in said["matches"]] == [
        (2, "q", "foreign", 0),
        (3, "q", "foreign", 1),
        (4, "q", "foreign", 2),
    ]
    assert said["matches"][0]["span"] == ASKED[0][:-1]
    assert said["counts"]["rows_with_overlap"] == said["counts"]["questions_found"] == 3
    assert said["left_out"] == 0
    assert len(list(read_rows(work / "m.parquet"))) == 3


def test_clean_rows_leave_an_empty_table(work):
    said = run(work, ["Name three colours that are seldom seen in nature."], q=suite("foreign"))
    assert said["matches"] == list(read_rows(work / "m.parquet")) == []
    assert said["counts"]["questions"] == 3


def test_the_own_test_split_asks_for_near_copies_and_that_of_another_dataset_for_any(work):
    part = "Tell me in short why the sky over the sea is blue in winter"  # 13 of its 18 words
    near = "Tell me in short why the sky over the sea is blue in the morning light"  # 15
    found = run(work, [part, near], q=suite("own"), r=suite("own", dataset="e"))
    assert [(m["row"], m["suite"]) for m in found["matches"]] == [(1, "r"), (2, "q"), (2, "r")]
    tasks = found["counts"]["tasks"]
    assert tasks["q/own"]["own_test_rows"]
    assert not tasks["r/own"]["own_test_rows"]


def test_a_task_that_can_not_be_loaded_stops_with_a_sentence(work):
    (work / "tasks/asked.jsonl").unlink()
    with pytest.raises(StageError, match=r"task foreign can't be loaded.*dataset d.*action: off"):
        run(work, ["any"], q=suite("foreign"))
    with pytest.raises(StageError, match=r"no task 'foregin'.*did you mean foreign"):
        run(work, ["any"], q=suite("foregin"))


def test_settings_that_only_shape_prompt_or_score_are_not_asked():
    said = {
        "task": "t",
        "dataset_kwargs": {
            "data_files": {"train": "{dataset}/train.parquet", "test": "{folder}/x"}
        },
        "test_split": "test",
        "validation_split": "train",
        "fewshot_split": "train",
        "doc_to_text": "q",
        "generation_kwargs": {"until": []},
        "num_fewshot": 5,
    }
    assert question_settings(said) == {
        "task": "t",
        "dataset_kwargs": {"data_files": {"test": "{folder}/x"}},
        "test_split": "test",
        "doc_to_text": "q",
    }
    assert question_files({"t": said}, "dataset") == []
    assert question_files({"t": said}, "folder") == ["{folder}/x"]


def test_what_a_task_names_for_decontamination_is_the_question():
    def doc_to_text(doc, query=None):
        return doc[query] if query else doc["prompt"]

    def task(**config):
        config = {"should_decontaminate": False, "doc_to_decontamination_query": None, **config}
        return SimpleNamespace(
            config=SimpleNamespace(**config), doc_to_text=doc_to_text, doc_to_choice=lambda _: "ab"
        )

    doc = {"prompt": "Long\nprompt", "question": "What?"}
    named = {"should_decontaminate": True, "doc_to_decontamination_query": "question"}
    assert question_text(task(**named), doc) == "What?"
    assert question_text(task(), doc) == "Long\nprompt"
    assert question_text(task(), {"prompt": 1}) == "a\nb"  # contexts to choose from
