"""Environments of their own for single rules: a conda environment, or a cluster's modules.

Without --sdm all rules run in the environment that Snakemake runs in, whatever the config names.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from snakemake.deployment.env_modules import EnvModules
from snakemake.settings.types import DeploymentMethod


def unknown_rules(environments: Mapping[str, Any], rules: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each environment whose rule there is not."""
    return [
        f"cluster.environments: there is no rule '{name}'; did you mean "
        f"'{(difflib.get_close_matches(name, rules, 1, 0) or [''])[0]}'?"
        for name in environments
        if name not in rules
    ]


def give_environment(
    rule: Any, wanted: Mapping[str, Any], methods: set, digest: Callable[[str], str], root: Path
) -> None:
    """Let a rule run in what ``wanted`` names, as far as ``methods`` (--sdm) are in use.

    What the environment is goes into the rule's params: in another one its result may differ.
    """
    basis: dict[str, Any] = {}
    if DeploymentMethod.CONDA in methods and (conda := wanted["conda"]):
        is_file = conda.endswith((".yaml", ".yml"))
        place = str(root / conda) if is_file else conda
        rule.conda_env = place
        basis["conda"] = digest(place) if is_file else conda
    if DeploymentMethod.ENV_MODULES in methods and (modules := wanted["modules"]):
        rule.env_modules = EnvModules(*modules)
        basis["modules"] = modules
    if basis:
        rule.set_params(environment=basis)
