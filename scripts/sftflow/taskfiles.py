"""The lm-eval task YAML files of a folder: which task each defines, and what it says."""

from __future__ import annotations

from pathlib import Path

import yaml

from sftflow.yamlsize import check_depth, check_size


class _TaskLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """SafeLoader that reads lm-eval's ``!function module.name`` as the text it is."""


_TaskLoader.add_constructor("!function", lambda _, node: f"!function {node.value}")


UNREADABLE = (OSError, ValueError, RecursionError, yaml.YAMLError)


def task_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the file that defines each task of a folder, and sentences about bad files."""
    known: dict[str, Path] = {}
    faults = []
    for path in sorted(Path(folder).rglob("*.yaml")):
        try:
            task = read_task(path)
        except UNREADABLE as error:
            faults.append(f"{path} can't be read as YAML: {str(error).splitlines()[0]}")
            continue
        if isinstance(task, dict) and isinstance(task.get("task"), str):
            known[task["task"]] = path
    return known, faults


def read_task(path: Path) -> object:
    """Return what a task file says, without running any code that it names."""
    text = path.read_text(encoding="utf-8")
    check_depth(text)
    task = yaml.load(text, Loader=_TaskLoader)  # noqa: S506
    check_size(task)
    return task
