"""YAML that would end the process or fill the memory is refused with a sentence."""

import pytest
import yaml

from sftflow.configfile import ConfigFault, read_yaml
from sftflow.stage import StageError
from sftflow.suites import folder_tasks
from sftflow.yamlsize import MOST_LEVELS, check_depth

DEEP = {
    "brackets": "a: " + "[" * 20_000,
    "closed brackets": "a: " + "[" * 20_000 + "]" * 20_000,
    "braces": "{a: " * 20_000 + "1" + "}" * 20_000,
    "lists in a line": "- " * 20_000 + "1",
    "steps": "".join(f"{' ' * i}a:\n" for i in range(MOST_LEVELS + 2)),
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_nested_too_deeply_is_a_fault(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigFault, match=r"config\.yaml.*nested more than 1,000 levels"):
        read_yaml(path)
    with pytest.raises(StageError, match=r"config\.yaml.*nested more than 1,000 levels"):
        folder_tasks(tmp_path, ["a"])


def test_what_is_wide_or_looks_deep_is_read():
    wide = "a: [" + "[1], " * 5000 + "]\nb: '" + "[" * 5000 + "'\n"
    check_depth(wide)
    levels = "[" * MOST_LEVELS + "]" * MOST_LEVELS
    check_depth(levels)
    with pytest.raises(yaml.YAMLError):
        check_depth(f"[{levels}]")
