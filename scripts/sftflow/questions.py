"""What benchmark tasks ask: the text of each question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sftflow.questionindex import Question
from sftflow.stage import StageError
from sftflow.suites import question_files, question_settings
from sftflow.suitetasks import load_tasks


def question_text(task: Any, doc: Mapping[str, Any]) -> str:
    """Return what a task asks with one document, as lm-eval's own decontamination would look at it.

    That is ``doc_to_decontamination_query`` where the task names one, and else its prompt.
    """
    config = task.config
    query = config.doc_to_decontamination_query if config.should_decontaminate else None
    said = task.doc_to_text(doc, query) if isinstance(query, str) else task.doc_to_text(doc)
    if isinstance(said, int):  # several contexts, one ending
        return "\n".join(map(str, task.doc_to_choice(doc)))
    return "\n".join(map(str, said)) if isinstance(said, list) else str(said)


def suite_questions(
    suite: str, spec: Mapping[str, Any], own: Mapping[str, Any], dataset: Any, is_own: bool
) -> Iterator[Question]:
    """Yield the questions of a suite; ``dataset`` is the folder that its tasks read as {dataset}.

    ``is_own`` says that this folder is of the dataset whose rows are compared: what is asked from
    it was set aside by its split. Raises StageError for a task that can't be loaded.
    """
    own = {name: question_settings(settings) for name, settings in own.items()}
    for loaded in load_tasks(spec, own, dataset):
        for task in loaded.get_all_tasks() if hasattr(loaded, "get_all_tasks") else [loaded]:
            name = task.task_name
            set_aside = is_own and bool(question_files({name: own.get(name, {})}, "dataset"))
            for number, doc in enumerate(task.eval_docs):
                try:
                    text = question_text(task, doc)
                except Exception as error:
                    raise StageError(
                        f"suite {suite}, task {name}: item {number} gives no question "
                        f"({type(error).__name__}: {error})"
                    ) from None
                yield Question(suite, name, number, text, set_aside)
