"""Why a job is stale, in the words of the person who changed something."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.codegraph import code_snapshot
from sftflow.manifests import write_json
from sftflow.provenance import FOLDER, Change, Verdict
from sftflow.settingchanges import setting_changes, shortened, value_text

DIGEST_LENGTH = 16  # hex digits of codegraph.code_digest
CONTENTS = {
    "raw": "the content of the raw files",
    "earlier": "what the portrait says that a dataset is compared with",
    "content": "the content of the model's folder or of its chat template",
    "models": "the content of a model that the cleaning uses",
    "tasks": "what the task files say, or the data beside them",
    "prompts": "the content of the prompt file",
    "texts": "the content of the held-out texts",
}


def sentence(verdict: Verdict) -> str:
    """Return one line about everything but missing files."""
    return "; ".join(told(verdict))


def told(verdict: Verdict) -> list[str]:
    """Return a clause for everything but missing files, the weightiest first."""
    said = [f"{path} is not as it was made" for path in verdict.damaged]
    if verdict.unknown:
        said.append("there is no record of how the results were made")
    for change in verdict.changed:
        said += _clauses(change) if change.part != "inputs" else []
    inputs = [change for change in verdict.changed if change.part == "inputs"]
    return said + shortened([clause for change in inputs for clause in _clauses(change)])


def told_missing(missing: Sequence[str], outputs: Iterable[str]) -> list[str]:
    """Return a clause for each file that is missing, one for all if nothing else is there."""
    if len(missing) > 1 and set(outputs) <= set(missing):
        return ["none of its results is there"]
    return [f"{path} is missing" for path in missing]


def _clauses(change: Change) -> list[str]:
    if change.part == "command":
        return ["the rule's command has changed"]
    if change.part == "inputs":
        if change.then is None:
            return [f"{change.name} is a new input"]
        if change.now is None:
            return [f"{change.name} is not an input any more"]
        return [f"{change.name} has other content"]
    if change.name == "code":
        return shortened(list(code_changes(change.then, change.now)))
    if change.name == "spec":
        return shortened(list(setting_changes(_parsed(change.then), _parsed(change.now))))
    if change.name == "packages":
        return shortened([f"package {c}" for c in setting_changes(change.then, change.now)])
    if change.name in CONTENTS:
        return [f"{CONTENTS[change.name]} has changed"]
    return [f"{change.name}: {value_text(change.then)} -> {value_text(change.now)}"]


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _snapshot_path(digest: str) -> Path:
    return FOLDER / "code" / f"{digest}.json"


def keep_snapshots(digests: str) -> None:
    """Keep what the code digests of a param stand for, once each."""
    for digest in _split(digests):
        path, said = _snapshot_path(digest), code_snapshot(digest)
        if said is not None and not path.exists():
            write_json(path, said)


def _split(digests: Any) -> list[str]:
    text = str(digests)
    return [text[i : i + DIGEST_LENGTH] for i in range(0, len(text), DIGEST_LENGTH)]


def code_changes(then: Any, now: Any) -> Iterator[str]:
    """Yield the functions that differ between two code digests."""
    for old, new in zip(_split(then), _split(now), strict=False):
        if old == new:
            continue
        before, after = _parsed_file(_snapshot_path(old)), code_snapshot(new)
        if before is None or after is None:
            yield "its code has changed"
            continue
        for file in dict.fromkeys([*before, *after]):
            if file not in after or file not in before:
                yield f"scripts/{file} is {'new' if file in after else 'not used any more'}"
                continue
            yield from _function_changes(file, before[file], after[file])


def _function_changes(file: str, then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys([*then, *now]):
        if then.get(name) != now.get(name):
            what = "is new" if name not in then else "is gone" if name not in now else "has changed"
            part = f": {name + '()' if name else 'module level'}" if file.endswith(".py") else ""
            yield f"scripts/{file}{part} {what}"


def _parsed_file(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
