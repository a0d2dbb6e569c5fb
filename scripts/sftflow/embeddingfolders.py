"""Folders of models that turn text into vectors: what counts in them, and whether one can be used.

A folder is that of a Sentence Transformer (modules.json names its parts, each in a folder of its
own or at the top), or of a plain transformers model (config.json), whose token vectors are
averaged. Nothing is loaded here, so the rules may ask.
"""

from __future__ import annotations

import json
from pathlib import Path

from sftflow.modelfolders import PICKLES, SMALL
from sftflow.stage import StageError

WEIGHTS = ".safetensors"
LIBRARY = "sentence_transformers."  # other module types are code that the model brings along


def embedding_files(folder: Path) -> dict[str, Path]:
    """Return the files that the model consists of, name -> path, sorted by name; no cards."""
    found = {}
    for part in _parts(folder):
        for path in (folder / part).glob("*"):
            if path.is_file() and path.name.endswith((*SMALL, WEIGHTS)):
                found[path.relative_to(folder).as_posix()] = path
    return dict(sorted(found.items()))


def check_embedding_folder(folder: Path) -> None:
    """Raise StageError with what is wrong if ``folder`` holds no model that can be loaded."""
    if not folder.is_dir():
        raise StageError(
            f"there is no folder {folder}; a model of the hub needs `revision` beside its name, "
            "the 40 hex digits of a commit"
        )
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        raise StageError(
            f"{folder} holds neither modules.json nor config.json, so it is no model of "
            "sentence-transformers or transformers"
        )
    foreign = [kind for kind in _modules(folder).values() if not kind.startswith(LIBRARY)]
    if foreign:
        raise StageError(
            f"{folder} needs code of its own ({foreign[0]}), which is not run; choose another model"
        )
    names = {part: [p.name for p in sorted((folder / part).glob("*"))] for part in _parts(folder)}
    if not (folder / "modules.json").is_file() and "tokenizer.json" not in names["."]:
        raise StageError(f"{folder} has no tokenizer.json; save its tokenizer there")
    for part, inside in names.items():
        pickles = [name for name in inside if name.endswith(PICKLES)]
        if pickles and not any(name.endswith(WEIGHTS) for name in inside):
            raise StageError(
                f"{folder / part} has its weights only as pickle ({pickles[0]}), which can run "
                "code when it is loaded; convert them to safetensors first"
            )
    if not any(name.endswith(WEIGHTS) for inside in names.values() for name in inside):
        raise StageError(f"{folder} has no weights: there is no *.safetensors")


def _parts(folder: Path) -> list[str]:
    """Return the folders below ``folder`` in which parts of the model lie, the top first."""
    return list(dict.fromkeys([".", *(path or "." for path in _modules(folder))]))


def _modules(folder: Path) -> dict[str, str]:
    """Return place -> type of the modules that modules.json names, {} without one."""
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        found = {str(m["path"]): str(m["type"]) for m in modules}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StageError(f"{path} can't be read as a list of modules: {error}") from None
    outside = [p for p in found if Path(p).is_absolute() or ".." in Path(p).parts]
    if outside:
        raise StageError(f"{path} names the place {outside[0]!r}, which lies outside of {folder}")
    return found
