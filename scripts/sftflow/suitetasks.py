"""The tasks of a suite as lm-eval's objects: its own folder's, or those that lm-eval ships."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow import suites
from sftflow.jobs import project_path
from sftflow.stage import StageError

logger = logging.getLogger("sftflow")


def own_tasks(spec: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the settings of the tasks of the suite's own folder; {} if it has none."""
    if spec["folder"] is None:
        return {}
    return suites.folder_tasks(project_path(spec["folder"]), spec["tasks"])


def load_tasks(
    spec: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]], dataset: Path | None
) -> list[Any]:
    """Return lm-eval's tasks and groups of a suite; raise StageError if one is not sound."""
    from lm_eval.tasks import TaskManager

    from sftflow import lmeval

    suites.check_metrics(own, lmeval.prepare())
    manager = TaskManager(include_defaults=not own)
    if not own and (sentence := suites.unknown_task(spec["tasks"], manager.all_tasks, "lm-eval")):
        raise StageError(sentence)
    tasks: list[Any] = []
    for name in spec["tasks"]:
        try:
            if own:
                places = {"folder": project_path(spec["folder"]), "dataset": dataset}
                read = suites.without_unread_splits(own[name], spec.get("num_fewshot"))
                tasks.append(lmeval.ConversationTask(config=suites.with_places(read, places)))
            else:
                loaded = manager.load(name)
                tasks += (
                    [loaded["groups"][name]]
                    if name in loaded["groups"]
                    else loaded["tasks"].values()
                )
        except StageError:
            raise
        except Exception as error:
            logger.exception("task %s", name)
            said = (str(error).strip().splitlines() or [""])[0]
            raise StageError(
                f"task {name} can't be loaded ({type(error).__name__}: {said})"
            ) from None
    return tasks
