"""The tasks of a suite: its YAML files, read without running code, with the data's place filled in.

lm-eval lets a task file name Python (``!function``) and imports it. Files of a config's own
folder must not do that here, nor reach for metrics that are downloaded as code; what such
files usually need it for is in lmeval.py: metrics and Jinja filters of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow.stage import StageError
from sftflow.taskfiles import UNREADABLE, read_task, task_files

STRUCTURE = ("task_list", "tag", "group", "include")  # keys that are no setting of a task
# What a task file says beside these changes how a question is put or scored, not what it is.
DECIDING = (
    "task",
    "dataset_path",
    "dataset_name",
    "dataset_kwargs",
    "test_split",
    "validation_split",
    "output_type",
    "doc_to_text",
    "doc_to_choice",
    "doc_to_target",
    "should_decontaminate",
    "doc_to_decontamination_query",
)


def unknown_task(names: Iterable[str], known: Iterable[str], where: str) -> str | None:
    """Return a sentence about the first name that is not known, with the nearest ones."""
    from rapidfuzz import process

    known = list(known)
    for name in names:
        if name not in known:
            near = [found[0] for found in process.extract(name, known, limit=3, score_cutoff=60)]
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"there are {len(known)} others"
            )
            return f"there is no task '{name}' in {where}; {hint}"
    return None


def folder_tasks(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of each named task of a folder; raise StageError if one is not sound."""
    if not folder.is_dir():
        raise StageError(f"there is no folder {folder} with task files")
    known, faults = task_files(folder)
    if faults:
        raise StageError(faults[0])
    if sentence := unknown_task(names, known, str(folder)):
        raise StageError(sentence)
    return {name: task_settings(known[name]) for name in names}


def task_settings(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a task file says, after the files that it includes, as lm-eval merges them."""
    path = path.resolve()
    if path in above:
        raise StageError(f"{path} includes itself")
    try:
        said = read_task(path)
    except UNREADABLE as error:
        raise StageError(f"{path} can't be read as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(said, dict):
        raise StageError(f"{path} is no task: a mapping of settings is expected")
    if code := next(_code(said), None):
        raise StageError(
            f"{path} names Python code ({code}), which is not run here; use Jinja and the metrics "
            "of lm-eval or sftflow instead"
        )
    includes = said.get("include", [])
    merged: dict[str, Any] = {}
    for name in includes if isinstance(includes, list) else [includes]:
        if not isinstance(name, str) or "\0" in name:
            raise StageError(f"{path} includes {name!r}, which is no file name")
        merged |= task_settings(path.parent / name, (*above, path))
    merged |= said
    return {key: value for key, value in merged.items() if key not in STRUCTURE}


def _code(value: Any) -> Iterable[str]:
    """Yield every mention of code in a task's settings."""
    if isinstance(value, str) and value.startswith("!function"):
        yield value
    if isinstance(value, dict):
        if value.get("hf_evaluate"):
            yield "hf_evaluate"
        if "class" in value:
            yield "class"
        for item in value.values():
            yield from _code(item)
    if isinstance(value, list):
        for item in value:
            yield from _code(item)


def with_places(settings: Mapping[str, Any], places: Mapping[str, Path | None]) -> dict[str, Any]:
    """Return settings with ``{dataset}`` and ``{folder}`` in ``dataset_kwargs`` filled in.

    Raises StageError for a place that the suite does not name (None).
    """

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [filled(v) for v in value]
        if not isinstance(value, str):
            return value
        for name, place in places.items():
            if place is None and "{" + name + "}" in value:
                raise StageError(
                    f"task {settings['task']} reads {value}, but its suite names no {name}"
                )
            value = value.replace("{" + name + "}", str(place))
        return value

    return {**settings, "dataset_kwargs": filled(settings.get("dataset_kwargs") or {})}


def used_splits(task: Mapping[str, Any], num_fewshot: int | None) -> set[str]:
    """Return the splits that a task reads: lm-eval takes examples only if some are asked for."""
    tested = task.get("test_split") or task.get("validation_split") or task.get("training_split")
    examples = task.get("num_fewshot") if num_fewshot is None else num_fewshot
    shown = ("fewshot_split", "training_split", "validation_split") if examples else ()
    return {split for split in (tested, *map(task.get, shown)) if split}


def without_unread_splits(settings: Mapping[str, Any], num_fewshot: int | None) -> dict[str, Any]:
    """Return settings without splits that are not read and whose files lie beside the task.

    Such a file, as a rule one with examples, may be missing.
    """
    kept, asked = dict(settings), dict(settings.get("dataset_kwargs") or {})
    files, read = asked.get("data_files"), used_splits(settings, num_fewshot)
    if not isinstance(files, dict):
        return kept
    unread = {k for k, v in files.items() if k not in read and "{folder}" in str(v)}
    for key in ("fewshot_split", "training_split", "validation_split"):
        if kept.get(key) in unread:
            del kept[key]
    return kept | {
        "dataset_kwargs": {**asked, "data_files": {k: files[k] for k in files if k not in unread}}
    }


def missing_files(folder: Path, tasks: Iterable[str], num_fewshot: int | None) -> Iterator[str]:
    """Yield a sentence for each file beside a folder's tasks that they read and that is not there.

    Raises StageError if a task is not sound.
    """
    for name, settings in folder_tasks(folder, tasks).items():
        for text in named_files({name: settings}, "folder", num_fewshot):
            below = text.removeprefix("{folder}/")
            if not any(folder.glob(below)):
                yield f"task {name} reads {folder / below}, which is not there; put the file there"


def named_files(
    tasks: Mapping[str, Mapping[str, Any]], place: str, num_fewshot: int | None
) -> list[str]:
    """Return the paths below ``{place}`` that tasks read, with the place as it stands there."""
    texts = {text for task in tasks.values() for text in _data_texts(task, num_fewshot)}
    return sorted(text for text in texts if text.startswith("{" + place + "}/"))


def placeless_files(tasks: Mapping[str, Mapping[str, Any]], num_fewshot: int | None) -> list[str]:
    """Return the files and folders that tasks read by a path of their own, below no place."""
    texts = {text for task in tasks.values() for text in _data_texts(task, num_fewshot)}
    # A bare name is that of a format or of a set on the hub.
    texts |= {text for task in tasks.values() if "/" in (text := str(task.get("dataset_path")))}
    return sorted(text for text in texts if "\0" not in text and Path(text).exists())


def _data_texts(task: Mapping[str, Any], num_fewshot: int | None) -> Iterator[str]:
    """Yield the texts of a task's ``dataset_kwargs``, without those of splits that are not read."""
    asked = dict(task.get("dataset_kwargs") or {})
    files = asked.get("data_files")
    if isinstance(files, dict):
        splits = used_splits(task, num_fewshot)
        asked["data_files"] = {k: v for k, v in files.items() if not splits or k in splits}
    todo: list[Any] = [asked]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            todo += value.values() if isinstance(value, dict) else value


def question_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a task's settings what decides its questions: its tested split and their text."""
    kept = {key: settings[key] for key in DECIDING if key in settings}
    if kept.get("test_split"):
        kept.pop("validation_split", None)
    tested = kept.get("test_split") or kept.get("validation_split")
    asked = dict(kept.get("dataset_kwargs") or {})
    files = asked.get("data_files")
    if isinstance(files, dict) and tested in files:
        asked["data_files"] = {tested: files[tested]}
    return {**kept, "dataset_kwargs": asked}


def question_files(settings: Mapping[str, Mapping[str, Any]], place: str | None) -> list[str]:
    """Return the paths below ``{place}`` that hold the questions of a suite's own tasks.

    Without a place they are those of placeless_files.
    """
    asked = {name: question_settings(said) for name, said in settings.items()}
    return named_files(asked, place, 0) if place else placeless_files(asked, 0)


def check_metrics(tasks: Mapping[str, Mapping[str, Any]], known: Iterable[str]) -> None:
    """Raise StageError for a metric that is not among the known ones.

    lm-eval would look for it on the hub, and run what it finds there.
    """
    known = list(known)
    for task, settings in tasks.items():
        for entry in settings.get("metric_list") or []:
            name = entry.get("metric") if isinstance(entry, dict) else None
            if name not in known:
                from rapidfuzz import process

                near = process.extractOne(str(name), known)[0]
                raise StageError(f"task {task}: no metric '{name}'; did you mean '{near}'?")
