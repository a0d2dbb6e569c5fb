"""Python code that a model brings along: run only where the config names that model.

Under results/models/ a model has Python files only if its base has ``trust_remote_code``:
prepare_base leaves them out of all others, and merge_adapter takes over what the base has. So
the folder itself says, to whoever loads it, whether its code may run, and SHA256SUMS vouches
for the very code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftflow.stage import StageError


def may_run_code(folder: Path | str) -> bool:
    """Return whether the folder of a prepared or merged model holds code that may run."""
    return any(Path(folder).glob("*.py"))


def check_code(folder: Path, name: str) -> None:
    """Raise StageError if code that may run is not in the folder but in another repository.

    transformers would fetch it at no revision, whatever the model's own is pinned to.
    """
    for file in ("config.json", "tokenizer_config.json"):
        path = folder / file
        said = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        named = said.get("auto_map") or {}
        for target in named.values() if isinstance(named, dict) else [named]:
            for place in target if isinstance(target, list) else [target]:
                if place and "--" in str(place):
                    raise StageError(
                        f"{name}: {file} takes code from another repository "
                        f"({str(place).partition('--')[0]}), which no revision pins; put that code "
                        "into the folder of the model and name it in auto_map without '--'"
                    )


@contextmanager
def told_if_refused(name: str) -> Iterator[None]:
    """Turn transformers' refusal to run a model's code into a sentence."""
    try:
        yield
    except (ValueError, StageError) as error:
        if "trust_remote_code" not in str(error):
            raise
        raise StageError(
            f"{name}: the model can't be loaded without running Python code that it brings along; "
            f"read that code and set {name}.trust_remote_code: true, or choose another model"
        ) from None
