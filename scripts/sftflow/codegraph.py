"""A digest of what a stage's code means: its script and all modules of this repository below it.

Snakemake sees a script's time stamp, not its meaning, and imported modules not at all. Here the
syntax trees are digested (meaning.py), so comments, docstrings, layout, annotations and the names
of local variables change nothing, and a change in any module that a stage imports, directly or
not, changes the digests of exactly the stages that import it. A file under scripts/templates/ or
scripts/lists/ that a module names counts as part of it.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import inspect
import json
import os
import re
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

import yaml

from sftflow.codeorder import that_run
from sftflow.manifests import sha256_file, sha256_json, write_text
from sftflow.meaning import bare, meaning

SCRIPTS = Path(__file__).parents[1]
# A tree is digested as this Python writes it, by rules as they stand.
RULES = [sha256_file(place) for place in (*map(inspect.getfile, (meaning, that_run)), __file__)]
MEMORY = f"{sys.version_info[:2]} {' '.join(RULES)}"


_parsing = threading.Lock()


def parsed(source: str | bytes) -> ast.Module:
    """Return a module's syntax tree, whatever other threads do.

    CPython 3.11 counts how deep it is in a tree for all threads together, and two that parse at
    once end in a SystemError (python/cpython#106905): users of a server end in threads.
    """
    with _parsing:
        return ast.parse(source)


# The digest of a module that does nothing, whatever it says of itself.
NOTHING = hashlib.sha256(meaning(parsed("")).encode()).hexdigest()


@cache
def _modules(scripts: Path) -> dict[str, Path]:
    """Return the repository's modules by name."""
    files = {file.relative_to(scripts): file for file in scripts.rglob("*.py")}
    found = {".".join(name.with_suffix("").parts): file for name, file in files.items()}
    return {name.removesuffix(".__init__"): found[name] for name in sorted(found)}


# What syntax trees said, by the digest of the file's bytes: kept between processes, for
# looking at all of them takes two seconds.
_said: dict[str, list] = {}
_used: set[str] = set()
_kept: set[Path] = set()
MOST_SAID = 3000  # of 1 KB each; a checkout has 250 files, the others are former versions of them


def tree_memory(otherwise: Path) -> Path:
    """Return where it is kept: beside Python's own caches, in ``otherwise`` if they can't be."""
    beside = Path(__file__).with_name("__pycache__")
    return (beside if os.access(beside, os.W_OK) else otherwise) / "code.json"


def remember_trees(path: Path) -> None:
    """Use what an earlier process found in ``path``, and keep there what this one finds."""
    global _said  # one memory per process
    path = path.absolute()  # what is kept at the end is kept from another folder
    with suppress(OSError, ValueError, RecursionError):
        known = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(known, dict) and known.get("format") == MEMORY and "said" in known:
            _said = {**known["said"], **_said}
    if path not in _kept:
        _kept.add(path)
        atexit.register(_keep_trees, path, len(_said))


def _keep_trees(path: Path, known: int) -> None:
    if len(_said) != known and path.parent.parent.is_dir():
        said = _said if len(_said) < MOST_SAID else {key: _said[key] for key in _used}
        with suppress(OSError):
            write_text(path, json.dumps({"format": MEMORY, "said": said}))


def _from_tree(source: bytes) -> list:
    """Return a module's digest, the names that it imports, and its texts that may name files."""
    key = hashlib.sha256(source).hexdigest()
    _used.add(key)
    if key not in _said:
        tree = parsed(source)
        names: set[str] = set()
        texts: set[str] = set()
        for node in that_run(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = "." * node.level + (node.module or "")
                names.add(above)
                between = "." if node.module else ""
                names.update(f"{above}{between}{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
        files = sorted(text for text in texts if re.fullmatch(r"[\w.-]+\.\w+", text))
        digest = hashlib.sha256(meaning(tree).encode()).hexdigest()
        _said[key] = [digest, sorted(names), files]
    return _said[key]


@cache
def _lists_and_templates(scripts: Path) -> dict[str, Path]:
    """Return the files of lists/ and templates/ by name."""
    folders = (scripts / "lists", scripts / "templates")
    return {file.name: file for folder in folders for file in folder.glob("*")}


def _named_files(texts: Iterable[str]) -> set[Path]:
    """Return the lists and templates among these names, and templates that these include."""
    beside = _lists_and_templates(SCRIPTS)
    named = {beside[text] for text in texts if text in beside}
    todo = list(named)
    while todo:
        said = todo.pop().read_text(encoding="utf-8")
        for file in beside.values():
            if file not in named and re.search(f"(['\"]){re.escape(file.name)}\\1", said):
                named.add(file)
                todo.append(file)
    return named


@cache
def _file_facts(path: Path) -> tuple[str, frozenset[Path], frozenset[Path]]:
    """Return a module's digest, the repository's modules and the templates that it uses."""
    digest, names, texts = _from_tree(path.read_bytes())
    known = _modules(SCRIPTS)
    wanted = {_absolute(name, path) for name in names}
    below = {known[name] for name in wanted if name in known}
    packages = {package for file in below for package in _packages_above(file)}
    return digest, frozenset(below | packages), frozenset(_named_files(texts))


def _absolute(name: str, path: Path) -> str:
    """Return the full name of a module that the file ``path`` names as ``..other``."""
    tail = name.lstrip(".")
    if tail == name:
        return name
    levels = len(name) - len(tail)
    package = path.relative_to(SCRIPTS).parts[:-levels]
    return ".".join([*package, tail] if tail else package)


def _packages_above(path: Path) -> Iterable[Path]:
    """Return the packages that Python imports before a module, if they do anything."""
    for folder in path.relative_to(SCRIPTS).parents:
        start = SCRIPTS / folder / "__init__.py"
        if start.is_file() and _from_tree(start.read_bytes())[0] != NOTHING:
            yield start


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


DIGEST_LENGTH = 16  # hex digits
# What each digest of this process stands for: stages by digest, to tell later what changed.
_asked: dict[str, str] = {}


@cache
def _data_digest(path: Path) -> str:
    """Return the digest of what a list or a template says, without comments; else of bytes."""
    if path.suffix == ".yaml":
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return sha256_json(yaml.load(path.read_bytes(), Loader=loader))  # noqa: S506 (safe ones)
    if path.suffix in (".j2", ".jinja"):
        return _from_template(path.read_bytes())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _from_template(source: bytes) -> str:
    """Return the digest of a Jinja template as it is rendered: of its tokens.

    White space around a comment that Jinja would leave in a page counts.
    """
    key = hashlib.sha256(source).hexdigest()
    _used.add(key)
    if key not in _said:
        from jinja2 import Environment

        said: list[list[str]] = []
        lexer = Environment().lexer  # noqa: S701 (nothing is rendered)
        for token in lexer.tokenize(source.decode()):
            if token.type == "data" and said and said[-1][0] == "data":
                said[-1][1] += token.value
            else:
                said.append([token.type, str(token.value)])
        _said[key] = [sha256_json(said), [], []]
    return _said[key][0]


@cache
def code_digest(stage: str) -> str:
    """Return 16 hex digits that change with a stage's code."""
    parts: list[str] = []
    for path in code_files(SCRIPTS / f"{stage}.py"):
        name = path.relative_to(SCRIPTS).as_posix()
        if path.suffix == ".py":
            parts.append(f"{name} {_file_facts(path)[0]}")
        else:
            parts.append(f"{name} {_data_digest(path)}")
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGEST_LENGTH]
    _asked[digest] = stage
    return digest


def split_digests(code: object) -> list[str]:
    """Return the digests of a param, which may be those of several stages."""
    text = str(code)
    return [text[i : i + DIGEST_LENGTH] for i in range(0, len(text), DIGEST_LENGTH)]


def stage_of(digest: str) -> str | None:
    """Return the stage whose code has this digest in this process; None for another's."""
    return _asked.get(digest)


@cache
def _definitions(path: Path) -> dict[str, str]:
    """Return name -> digest of a module's functions and methods, and of all else in it ("")."""
    if path.suffix != ".py":
        return {"": _data_digest(path)[:8]}
    rest: list[str] = []
    found: dict[str, str] = {}
    todo = [("", node) for node in bare(parsed(path.read_text(encoding="utf-8"))).body]
    while todo:
        above, node = todo.pop(0)
        if isinstance(node, ast.ClassDef):
            rest.append(f"class {above}{node.name}")
            todo[:0] = [(f"{above}{node.name}.", inner) for inner in node.body]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[above + node.name] = hashlib.sha256(ast.dump(node).encode()).hexdigest()[:8]
        else:
            rest.append(ast.dump(node))
    return found | {"": hashlib.sha256("\n".join(rest).encode()).hexdigest()[:8]}


def code_snapshot(digest: str) -> dict[str, dict[str, str]] | None:
    """Return what a digest of this process stands for, None for another's.

    File -> {name of a function or method -> digest}.
    """
    if digest not in _asked:
        return None
    files = code_files(SCRIPTS / f"{_asked[digest]}.py")
    return {path.relative_to(SCRIPTS).as_posix(): _definitions(path) for path in files}


# What is found of the files once per process.
FOUND_ONCE = (
    _modules,
    _lists_and_templates,
    _file_facts,
    _data_digest,
    _definitions,
    code_digest,
)

_version = cache(version)  # which reads a whole METADATA file


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return name -> version of installed distributions, sorted by name."""
    return {name: _version(name) for name in sorted(packages)}
