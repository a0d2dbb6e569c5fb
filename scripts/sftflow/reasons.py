"""Why a job is stale, in the words of the person who changed something."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sftflow.codegraph import code_snapshot
from sftflow.manifests import write_json
from sftflow.provenance import FOLDER, Change, Verdict

SHOWN = 3  # changes of one kind that are told; the rest is counted
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
        said += _clauses(change)
    return said


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
        return _shortened(list(code_changes(change.then, change.now)))
    if change.name == "spec":
        return _shortened(list(setting_changes(_parsed(change.then), _parsed(change.now))))
    if change.name == "packages":
        return _shortened([f"package {c}" for c in setting_changes(change.then, change.now)])
    if change.name in CONTENTS:
        return [f"{CONTENTS[change.name]} has changed"]
    return [f"{change.name}: {_value(change.then)} -> {_value(change.now)}"]


def _shortened(clauses: list[str]) -> list[str]:
    more = len(clauses) - SHOWN
    return clauses if more <= 1 else [*clauses[:SHOWN], f"and {more} more such changes"]


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _value(value: Any) -> str:
    plain = isinstance(value, str) and value != ""
    text = value if plain else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def setting_changes(then: Any, now: Any, key: str = "") -> Iterator[str]:
    """Yield ``key: old -> new`` for every setting that differs, keys dotted as in the config."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys([*then, *now]):
            below = f"{key}.{name}" if key else str(name)
            if name not in then:
                yield f"{below}: {_value(now[name])} is new"
            elif name not in now:
                yield f"{below}: {_value(then[name])} is gone"
            else:
                yield from setting_changes(then[name], now[name], below)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from setting_changes(old, new, f"{key}[{_step_name(old, number)}]")
    elif then != now:
        yield f"{key}: {_value(then)} -> {_value(now)}"


def _step_name(item: Any, number: int) -> Any:
    """Return what an item of a list is called: cleaning steps have a name."""
    return item["step"] if isinstance(item, Mapping) and "step" in item else number


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
            yield f"scripts/{file}: {name + '()' if name else 'module level'} {what}"


def _parsed_file(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
