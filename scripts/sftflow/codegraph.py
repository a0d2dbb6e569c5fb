"""A digest of what a stage's code means: its script and all modules of this repository below it.

Snakemake sees a script's time stamp, not its meaning, and imported modules not at all. Here the
syntax trees are digested (meaning.py), so comments, docstrings, layout and the names of local
variables change nothing, and a change
in any module that a stage imports, directly or not, changes the digests of exactly the stages
that import it. A file under scripts/templates/ that a module names counts as part of it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sftflow.meaning import meaning

SCRIPTS = Path(__file__).parents[1]


def _module_file(name: str) -> Path | None:
    path = SCRIPTS.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imported(tree: ast.AST) -> set[Path]:
    """Return the files of this repository that a module imports, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {file for name in names if (file := _module_file(name))}


def _named_files(tree: ast.AST) -> set[Path]:
    """Return the templates that a module names, and those that these include."""
    folder = SCRIPTS / "templates"
    texts = {
        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    }
    named = {f for f in folder.glob("*") if f.name in texts} if folder.is_dir() else set()
    todo = list(named)
    while todo:
        said = todo.pop().read_text(encoding="utf-8")
        for file in folder.glob("*"):
            if file not in named and f'"{file.name}"' in said:
                named.add(file)
                todo.append(file)
    return named


@cache
def _file_facts(path: Path) -> tuple[str, frozenset[Path], frozenset[Path]]:
    """Return a module's digest, the repository's modules and the templates that it uses."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    below, named = frozenset(_imported(tree)), frozenset(_named_files(tree))
    return hashlib.sha256(meaning(tree).encode()).hexdigest(), below, named


def code_files(script: Path) -> list[Path]:
    """Return a script and every file of this repository that it rests on, sorted."""
    seen: set[Path] = set()
    files: set[Path] = set()
    todo = [script]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        _, below, named = _file_facts(path)
        files |= {path, *named}
        todo.extend(below)
    return sorted(files)


# What each digest of this process stands for: stages by digest, to tell later what changed.
_asked: dict[str, str] = {}


@cache
def code_digest(stage: str) -> str:
    """Return 16 hex digits that change with a stage's code."""
    parts: list[str] = []
    for path in code_files(SCRIPTS / f"{stage}.py"):
        name = path.relative_to(SCRIPTS).as_posix()
        if path.suffix == ".py":
            parts.append(f"{name} {_file_facts(path)[0]}")
        else:
            parts.append(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    _asked[digest] = stage
    return digest


def _definitions(path: Path) -> dict[str, str]:
    """Return name -> digest of a module's functions and methods, and of all else in it ("")."""
    if path.suffix != ".py":
        return {"": hashlib.sha256(path.read_bytes()).hexdigest()[:8]}
    rest: list[str] = []
    found: dict[str, str] = {}
    todo = [("", node) for node in ast.parse(path.read_text(encoding="utf-8")).body]
    while todo:
        above, node = todo.pop(0)
        if isinstance(node, ast.ClassDef):
            rest.append(f"class {above}{node.name}")
            todo[:0] = [(f"{above}{node.name}.", inner) for inner in node.body]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = meaning(ast.Module([node], []))
            found[above + node.name] = hashlib.sha256(said.encode()).hexdigest()[:8]
        else:
            rest.append(meaning(ast.Module([node], [])))
    return found | {"": hashlib.sha256("\n".join(rest).encode()).hexdigest()[:8]}


def code_snapshot(digest: str) -> dict[str, dict[str, str]] | None:
    """Return what a digest of this process stands for, None for another's.

    File -> {name of a function or method -> digest}.
    """
    if digest not in _asked:
        return None
    files = code_files(SCRIPTS / f"{_asked[digest]}.py")
    return {path.relative_to(SCRIPTS).as_posix(): _definitions(path) for path in files}


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return name -> version of installed distributions, sorted by name."""
    return {name: version(name) for name in sorted(packages)}
