"""Keys, tokens and passwords that stand in a config by mistake.

A config's values are copied into manifests, records, logs and the report. So one that looks like
a secret is refused before anything else is said of the config, and is shown nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

# Cheaper than the expressions of detect-secrets, whose import takes 0.3 s: long words in which
# letters and digits mix, an address with a name in it, and the first line of a private key.
SUSPECT = re.compile(
    r"(?<![\w-])(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[\w-]{16}|://[^/\s]*@|PRIVATE KEY|AKIA", re.ASCII
)
QUERY = re.compile(r"^https?://[^\s]*[?#]")


def secret_faults(config: Any) -> list[str]:
    """Return a sentence for each value that looks like a secret, without the value."""
    suspects = [(key, text) for key, text in _texts(config, "") if SUSPECT.search(text)]
    found = [key for key, text in suspects if _is_secret(text)]
    told = [
        f"{key}: holds what looks like a key, token or password; a config is copied into results "
        "and logs, so put it into an environment variable (api_key_env names one, the hub's is "
        "HF_TOKEN)"
        for key in found
    ]
    told += [
        f"{key}: has a query (?) or fragment (#), where keys are often put; leave it out and name "
        "the variable of the key in api_key_env"
        for key, text in _texts(config, "")
        if key.endswith("base_url") and QUERY.match(text)
    ]
    return told


def environment_faults(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence if the hub's address holds a password: libraries write it to their logs."""
    if "@" not in urlsplit(environment.get("HF_ENDPOINT", "")).netloc:
        return []
    return [
        "HF_ENDPOINT: holds a name or password, and addresses are written to logs; leave it out "
        "and put the token into HF_TOKEN"
    ]


def _is_secret(text: str) -> bool:
    from sftflow.credentials import KINDS, Finder

    return any(True for _ in Finder(KINDS)(text))


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield every text of a config with the key under which it stands."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, below in value.items():
            yield from _texts(below, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _texts(below, f"{key}[{number}]")
