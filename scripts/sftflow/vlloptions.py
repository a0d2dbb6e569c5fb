"""Misspelt options of vLLM, told without vLLM: by a list of those that the locked version has."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from sftflow.devices import vllm_package

LIST = Path(__file__).resolve().parents[2] / "envs" / "vllm-options.list"


def listed_options() -> tuple[str, list[str]]:
    """Return the version of vLLM that the list was made of, and its options (--name)."""
    head, *names = LIST.read_text(encoding="utf-8").split()[1:]
    return head, names


def unknown_options(extra: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each item that is no option of the installed vLLM.

    Nothing is said of items with a single dash, and nothing at all where another vLLM than the
    listed one is installed, or none.
    """
    named = [(number, _name(item)) for number, item in enumerate(extra) if item.startswith("--")]
    if not named:
        return
    listed, known = listed_options()
    if _installed() != listed:
        return
    for number, name in named:
        if any(option.startswith(name) for option in known):  # vLLM takes beginnings of options
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else "take it out"
        yield f"serve.extra_args[{number}]: vLLM {listed} has no option {name}; {hint}"


def _name(item: str) -> str:
    """Return the option of ``--name=value``, ``--na_me`` and ``--name.key``, as vLLM reads it."""
    return item.partition("=")[0].partition(".")[0].replace("_", "-")


def _installed() -> str | None:
    try:
        return version(vllm_package()).partition("+")[0]
    except ModuleNotFoundError:
        return None
