"""Read YAML as a person means it: numbers are numbers, `no` is a word, no key twice.

PyYAML follows YAML 1.1, in which 2e-4 is text, `no` is False, 12:30 is 750 and the second of
two equal keys wins without a word. Here the scalars are those of YAML 1.2's core schema.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sftflow.yamlsize import check_depth, check_size

HALF = re.compile(r"\\u[dD][89a-fA-F]")  # a surrogate, as only an escape can bring it in


def visible(text: str) -> str:
    """Return a text with everything that a terminal would heed, or not show, as its escape."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escaped)


class ConfigFault(Exception):
    """What is wrong with a config: ``faults`` is a list of sentences."""

    def __init__(self, faults: list[str]) -> None:
        """Keep the sentences, which may quote the config."""
        self.faults = [visible(fault) for fault in faults]
        super().__init__("\n".join(self.faults))


class _Strict:
    """A loader's construction and resolution: YAML 1.2 scalars, no duplicate keys."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 (PyYAML's own way to say it)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Refuse a key that stands twice; take a name such as 1 or null as the text it is."""
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue  # what an alias brings in; keys that stand beside it win
            if key_node.tag in NO_TEXT:
                key_node.tag = "tag:yaml.org,2002:str"
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if isinstance(key, list | dict):
                raise yaml.MarkedYAMLError(None, None, "a key must be text", key_node.start_mark)
            if key in seen:
                problem = f"key '{key}' stands twice (first in line {seen[key]})"
                raise yaml.MarkedYAMLError(None, None, problem, key_node.start_mark)
            seen[key] = line
        return super().construct_mapping(node, deep)


class _Loader(_Strict, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """In C where PyYAML has it: the schema alone takes 0.2 s otherwise, in every invocation."""


class _TellingLoader(_Strict, yaml.SafeLoader):
    """In Python: slow, but it names the character that it stumbles over."""


def _number(kind: type) -> Callable[[yaml.SafeLoader, yaml.ScalarNode], int | float]:
    """Return what constructs an int or a float; 010 is ten, not eight."""

    def construct(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int | float:
        text = loader.construct_scalar(node)
        try:
            number = kind(text)
            if abs(number) != math.inf:  # 1e999: no stage could be told of it, for JSON has none
                return number
            raise ValueError
        except ValueError:  # behind a tag such as !!int, or of more than 4,300 digits
            problem = f"'{text[:40]}' can't be a number"
            raise yaml.MarkedYAMLError(None, None, problem, node.start_mark) from None

    return construct


SCALARS = (
    ("null", r"^(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", r"^[-+]?[0-9]+$", [*"-+0123456789"]),
    (
        "float",
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+)$",
        [*"-+.0123456789"],
    ),
    ("merge", r"^<<$", ["<"]),  # of YAML 1.1: 1.2 has none, but people write it
)
MERGE = "tag:yaml.org,2002:merge"
NO_TEXT = {f"tag:yaml.org,2002:{tag}" for tag in ("null", "bool", "int", "float")}
for _class in (_Loader, _TellingLoader):
    for _tag, _pattern, _first in SCALARS:
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
    _class.add_constructor("tag:yaml.org,2002:int", _number(int))
    _class.add_constructor("tag:yaml.org,2002:float", _number(float))


def read_yaml(path: Path | str) -> Any:
    """Return the content of a YAML file; raise ConfigFault with file, line and what is wrong."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigFault([f"{path}: there is no such file"]) from None
    except UnicodeDecodeError as error:
        said = f"is not UTF-8 (byte {error.start} can't be read); save it as UTF-8"
        raise ConfigFault([f"{path}: {said}"]) from None
    except OSError as error:
        raise ConfigFault([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        return _loaded(text, _Loader)
    except (yaml.YAMLError, RecursionError):
        pass
    try:
        return _loaded(text, _TellingLoader)
    except RecursionError:
        raise ConfigFault([f"{path}: is nested too deeply"]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error).split("\n")[0]
        if "\\t" in problem or "'\t'" in problem:
            problem = "a tab stands where spaces must be; YAML indents with spaces"
        raise ConfigFault([f"{place}: {problem}"]) from None


def _loaded(text: str, loader: Any) -> Any:
    check_depth(text)
    value = yaml.load(text, Loader=loader)  # noqa: S506 (subclasses of SafeLoader)
    check_size(value)
    if HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False, default=str).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise yaml.YAMLError(f"{half} is half of a character; write the whole one") from None
    return value


def typed(value: Any) -> Any:
    """Return a value of --config with numbers, truths and nulls where such words stand.

    Snakemake reads what stands within braces or brackets there as text, all of it.
    """
    if isinstance(value, dict):
        return {key: typed(below) for key, below in value.items()}
    if isinstance(value, list):
        return [typed(below) for below in value]
    if isinstance(value, str) and any(re.match(pattern, value) for _, pattern, _ in SCALARS[:4]):
        return _loaded(value, _Loader)
    return value


def merged(below: Any, above: Any) -> Any:
    """Return ``below`` with ``above`` laid over it: mappings key by key, all else whole."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    result = dict(below)
    for key, value in above.items():
        result[key] = merged(result[key], value) if key in result else value
    return result


def read_config_files(paths: list[Path], overrides: dict | None = None) -> dict:
    """Return the config of ``paths`` laid over each other, then ``overrides`` (--config)."""
    config: dict = {}
    for path in paths:
        part = read_yaml(path)
        if part is None:
            raise ConfigFault([f"{path}: the file is empty"])
        if not isinstance(part, dict):
            raise ConfigFault([f"{path}: must hold keys and values, not a {type(part).__name__}"])
        config = merged(config, part)
    try:
        return merged(config, typed(overrides or {}))
    except yaml.YAMLError as error:
        raise ConfigFault([f"--config: {getattr(error, 'problem', error)}"]) from None
