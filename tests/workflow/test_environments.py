"""A rule may have an environment of its own: only with --sdm, and what it is makes it stale."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from broken_config import edited, faults
from snakemake.settings.types import DeploymentMethod

from sftflow.environments import give_environment, unknown_rules

REPO = Path(__file__).parents[2]
CONFIG = {
    "sources": {"mine": {"path": "rows.jsonl"}},
    "datasets": {"talk": {"sources": ["mine"]}},
    "bases": {"tiny": {"make": {"seed": 1}, "template": "chatml"}},
    "runs": {"one": {"base": "tiny", "dataset": "talk", "max_length": 256}},
}
OWN = {
    "train_adapter": {"conda": "own.yaml"},
    "serve_model": {"conda": "serving", "modules": ["cuda/12.9", "gcc"]},
}


CONDA = """\
#!/bin/sh
case "$*" in
    info*) echo '{"conda_prefix": "/nowhere", "platform": "linux-64", "envs": []}' ;;
    *version) echo conda 24.11.0 ;;
    config*) echo '{"get": {"channel_priority": "strict"}}' ;;
esac
"""


class Rule:
    """As much of a rule of Snakemake's as is changed."""

    conda_env = "envs/conda.yaml"
    env_modules = None

    def __init__(self):
        self.params = {}

    def set_params(self, **params):
        self.params |= params


def given(wanted, *methods):
    rule = Rule()
    wanted = {"conda": None, "modules": [], **wanted}
    give_environment(rule, wanted, set(methods), lambda place: f"sum of {place}", Path("/p"))
    return rule


def test_without_sdm_all_rules_share_one():
    rule = given({"conda": "own.yaml", "modules": ["gcc"]})
    assert (rule.conda_env, rule.env_modules, rule.params) == ("envs/conda.yaml", None, {})


def test_another_environment_is_another_basis_of_the_result():
    """A file counts by what it says; of an environment that is there only its name is known."""
    rule = given({"conda": "own.yaml"}, DeploymentMethod.CONDA)
    assert rule.conda_env == "/p/own.yaml"
    assert rule.params == {"environment": {"conda": "sum of /p/own.yaml"}}
    assert given({"conda": "mine"}, DeploymentMethod.CONDA).conda_env == "mine"
    loaded = given({"conda": "mine", "modules": ["cuda/12.9", "gcc"]}, DeploymentMethod.ENV_MODULES)
    assert loaded.conda_env == "envs/conda.yaml"
    assert "module load cuda/12.9 gcc; run" in loaded.env_modules.shellcmd("run")
    assert loaded.params == {"environment": {"modules": ["cuda/12.9", "gcc"]}}


def test_with_conda_the_named_rules_have_their_own_and_the_others_share_one(tmp_path):
    (tmp_path / "conda").write_text(CONDA)
    (tmp_path / "conda").chmod(0o755)
    (tmp_path / "rows.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    (tmp_path / "own.yaml").write_text("dependencies: [python=3.11]\n")
    config = CONFIG | {"cluster": {"environments": OWN}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = [Path(sys.executable).parent / "snakemake", "-n", "-p", "--sdm", "conda"]
    command += ["--cores", "1", "--directory", tmp_path, "--configfile", tmp_path / "config.yaml"]
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=REPO, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    created = re.findall(r"Conda environment (\S+) will be created", said)
    assert {Path(name).name for name in created} == {"own.yaml", "conda.yaml"}


def test_a_rule_that_is_not_there_is_named():
    (said,) = unknown_rules({"train_adaptor": {}}, {"train_adapter": 1, "ingest_source": 2})
    assert said == (
        "cluster.environments: there is no rule 'train_adaptor'; did you mean 'train_adapter'?"
    )


def test_a_module_is_a_word(tmp_path):
    own = {"train_adapter": {"modules": ["gcc; rm -rf ~"]}}
    (said,) = faults(tmp_path, edited(cluster__environments=own))
    assert "cluster.environments.train_adapter.modules[0]" in said and "no module" in said
