"""What the tests of config errors share: a config in a folder, and what is said of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from sftflow.config import load_config
from sftflow.configfile import ConfigFault

GOOD = {
    "sources": {"mine": {"path": "rows.jsonl"}},
    "datasets": {"talk": {"sources": ["mine"]}},
    "bases": {"tiny": {"make": {"seed": 1}, "template": "chatml"}},
    "runs": {"talk-lora": {"base": "tiny", "dataset": "talk", "max_length": 512}},
}


def edited(**changes) -> dict:
    """GOOD with ``changes``: dots in keys are written as double underscores."""
    config = copy.deepcopy(GOOD)
    for key, value in changes.items():
        *path, last = key.split("__")
        place = config
        for part in path:
            place = place.setdefault(part.replace("talk_lora", "talk-lora"), {})
        place[last] = value
    return config


def cleaned(*steps: dict) -> dict:
    """GOOD with these cleaning steps."""
    return edited(datasets__talk={"sources": ["mine"], "clean": list(steps)})


MEANING = {"step": "semantic_duplicates", "model": "models/gone"}
JUDGE = {"step": "judge", "base_url": "http://host/v1", "model": "m", "min_score": 4}

ENDPOINT = {"base_url": "http://host/v1", "model": "m"}


def made(method: str = "best_of_n", come_from: str = "mine", **more) -> dict:
    """GOOD with a source that is made."""
    entry = {"method": method, "from": come_from, "endpoint": ENDPOINT, **more}
    return edited(sources__new={"make": entry})


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
