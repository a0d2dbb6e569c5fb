"""What the tests of config errors share: a config in a folder, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sftflow.config import load_config
from sftflow.configfile import ConfigFault


def load(folder: Path, config: dict | str) -> dict:
    """Return a config, given as it is or as YAML text, that lies beside its one raw file."""
    (folder / "rows.jsonl").write_text("{}\n")
    path = folder / "config.yaml"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return load_config([path])


def faults(folder: Path, config: dict | str) -> list[str]:
    """Return the sentences about a config that must be refused."""
    with pytest.raises(ConfigFault) as caught:
        load(folder, config)
    return caught.value.faults


def assert_one_fault(folder: Path, config: dict | str, sentence: str) -> None:
    """Fail unless one sentence is said of a config, with this in it."""
    told = faults(folder, config)
    assert any(sentence in fault for fault in told), told
    assert len(told) == 1, told
