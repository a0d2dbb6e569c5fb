"""What no line of this repository does: run text as code, unpickle, or build a shell's command."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from sftflow import configfile, taskfiles

REPO = Path(__file__).parents[2]
PYTHON = sorted(p for part in ("scripts", "data", "bench") for p in (REPO / part).rglob("*.py"))
RULES = [REPO / "Snakefile", *sorted((REPO / "rules").rglob("*.smk"))]
LOCKS = sorted(path for path in (REPO / "envs").glob("*.txt") if path.name != "overrides.txt")
# Reads nothing but what the same process has just written into a file without a name.
PICKLES = {"spool.py"}


def calls(path):
    """Yield (name as written, node) of every call of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keywords(node):
    return {word.arg: word.value for word in node.keywords}


def faults(path):
    """Return what a file calls that it must not."""
    found = []
    for name, node in calls(path):
        shell = keywords(node).get("shell")
        if name in ("eval", "exec", "compile", "os.system", "os.popen", "torch.load"):
            found.append(name)
        if name.split(".")[0] in ("pickle", "marshal", "shelve", "dill", "joblib"):
            found += [] if path.name in PICKLES else [name]
        if shell is not None and getattr(shell, "value", None) is not False:
            found.append(f"{name}(shell=...)")
        if name == "yaml.load" and "Loader" not in keywords(node):
            found.append("yaml.load without a loader")
        if name in ("yaml.full_load", "yaml.unsafe_load", "yaml.load_all"):
            found.append(name)
        if name.endswith(("tarfile.open", "ZipFile", "unpack_archive")):
            found.append(f"{name}: archives are not unpacked")
    return found


@pytest.mark.parametrize("path", PYTHON, ids=lambda p: str(p.relative_to(REPO)))
def test_no_text_becomes_code(path):
    assert faults(path) == []


def test_the_search_finds_what_is_planted(tmp_path):
    (tmp_path / "bad.py").write_text(
        "eval(x); pickle.loads(x); run(x, shell=True); yaml.load(x); os.system(x); torch.load(x)"
    )
    assert len(faults(tmp_path / "bad.py")) == 6
    (tmp_path / "good.py").write_text("model.eval(); run([x], shell=False); yaml.safe_load(x)")
    assert faults(tmp_path / "good.py") == []


@pytest.mark.parametrize(
    "loader", [configfile._Loader, configfile._TellingLoader, taskfiles._TaskLoader]
)
def test_yaml_is_read_by_safe_loaders(loader):
    assert issubclass(loader, yaml.SafeLoader | getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    with pytest.raises(yaml.YAMLError):
        yaml.load("!!python/object/apply:os.system ['true']", Loader=loader)


@pytest.mark.parametrize("path", RULES, ids=lambda p: p.name)
def test_settings_are_quoted_in_shell_commands(path):
    """All else in a command is a path below results/, made of names that the schema checks."""
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\{params\.(?:spec|limits)\}", text)
    assert not re.findall(r"\n    shell:\n(?:        .*\n)*?.*\{(?:config|CONFIG)", text)


@pytest.mark.parametrize("path", LOCKS, ids=lambda p: p.name)
def test_every_package_is_pinned_with_its_hash(path):
    """So that pip, which is called with --require-hashes, takes no other file by that name."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] != "#"]
    assert pins
    for pin in pins:
        assert re.match(r"[A-Za-z0-9_.\[\]-]+==\S+ ", pin), pin[:80]
        assert "--hash=sha256:" in pin, pin[:80]
