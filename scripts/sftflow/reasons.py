"""Why a job is stale, in the words of the person who changed something."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftflow.codegraph import code_snapshot, split_digests
from sftflow.manifests import write_json
from sftflow.meanwhile import CHANGED
from sftflow.provenance import FOLDER, Change, Verdict
from sftflow.settingchanges import setting_changes, shortened, value_text

CONTENTS = {
    "code": "its code",
    "raw": "the content of the raw files",
    "earlier": "what the portrait says that a dataset is compared with",
    "content": "the content of the model's folder or of its chat template",
    "models": "the content of a model that the cleaning uses",
    "tasks": "what the task files say, or the data beside them",
    "prompts": "the content of the prompt file",
    "prompt": "what the judge's prompt says",
    "filled": "what the filled sheets say, or their names",
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
    if change.then == CHANGED:
        return [f"{CONTENTS.get(change.name, change.name)} {CHANGED}"]
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
    for digest in split_digests(digests):
        path, said = _snapshot_path(digest), code_snapshot(digest)
        if said is not None and not path.exists():
            write_json(path, said)


def code_changes(then: Any, now: Any) -> Iterator[str]:
    """Yield the functions that differ between the code of two params, of one digest or more each.

    A run that asks for more has the digests of more modules.
    """
    if then == now:
        return
    before = [_parsed_file(_snapshot_path(digest)) for digest in split_digests(then)]
    after = [code_snapshot(digest) for digest in split_digests(now)]
    if None in before or None in after:
        yield "its code has changed"
        return
    old, new = _merged(before), _merged(after)
    for file in dict.fromkeys([*old, *new]):
        if file not in new or file not in old:
            yield f"scripts/{file} is {'new' if file in new else 'not used any more'}"
            continue
        yield from _function_changes(file, old[file], new[file])


def _merged(snapshots: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {file: said for snapshot in snapshots for file, said in snapshot.items()}


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
