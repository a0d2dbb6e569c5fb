"""Configs that hold a secret, or a path that no system can have."""

from __future__ import annotations

from pathlib import Path

import pytest
from broken_config import ENDPOINT, GOOD, JUDGE, MEANING, cleaned, edited, faults, load, made

from sftflow.config_secrets import secret_faults
from sftflow.configfile import read_yaml

REPO = Path(__file__).parents[2]
SHIPPED = [REPO / "config/config.yaml", *sorted((REPO / "config/examples").glob("*.yaml"))]
PATHS = {
    "source": lambda path: edited(sources__mine__path=path),
    "text": lambda path: edited(texts={"general": path}),
    "base": lambda path: edited(bases={"tiny": {"path": path}}),
    "template": lambda path: edited(bases__tiny__template=f"{path}.jinja"),
    "prompts": lambda path: edited(generation={"prompts": path}),
    "tasks": lambda path: edited(suites={"s": {"folder": path, "tasks": ["t"]}}),
    "seeds": lambda path: made("rewrite", path),
    "portrait": lambda path: edited(datasets__talk={"sources": ["mine"], "compare_with": path}),
    "embeddings": lambda path: cleaned({**MEANING, "model": path}),
}


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "~" * 300 + "/x", "\ud800"])
@pytest.mark.parametrize("place", PATHS)
def test_paths_that_no_system_can_have(place, path, tmp_path):
    for fault in faults(tmp_path, PATHS[place](path)):
        assert fault.startswith(str(tmp_path / "config.yaml"))


# Forms of real keys, put together here so that no search for leaked keys finds this file.
KEYS = {
    "hub": "hf_" + ("AbCdEfGh1" * 4)[:34],
    "openai": "sk-proj-" + "aB3" * 16,
    "github": "ghp_" + "A1b2C3" * 6,
    "aws": "AKIA" + "ABCDEFGH12345678",
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_secret_in_a_config_is_refused_and_not_shown(key, tmp_path):
    """Wherever it stands, and whatever else is wrong there."""
    for config in (
        edited(title=key),
        edited(bases={"tiny": {"hub": f"https://user:{key}@host/a/b", "revision": "main"}}),
        edited(serve={"extra_args": ["--hf-token", key]}),
        edited(sources__mine__encoding=key, run={}),
        cleaned({**JUDGE, "api_key_env": key}),
        cleaned({**JUDGE, "request": {"extra_headers": {"Authorization": f"Bearer {key}"}}}),
        made(endpoint={**ENDPOINT, "api_key": key}),
        made(endpoint={**ENDPOINT, "base_url": f"http://host/v1?key={key}"}),
    ):
        told = faults(tmp_path, config)
        assert all("looks like a key" in one or "has a query" in one for one in told), told
        assert key not in "".join(told)


def test_no_key_is_seen_where_there_is_none(tmp_path):
    assert secret_faults(load(tmp_path, GOOD)) == []
    for path in SHIPPED:
        assert secret_faults(read_yaml(path)) == []
    digest = "7ae557604adf67be50417f59c2c2f167def9a775"
    assert secret_faults({"a": digest, "b": [f"models/{digest}/step-000100.bfloat16"]}) == []


def test_a_query_in_an_address_is_refused(tmp_path):
    told = faults(tmp_path, made(endpoint={**ENDPOINT, "base_url": "https://host/v1?api_key=pw"}))
    assert "sources.new.make.endpoint.base_url: has a query" in told[0]
    assert "pw" not in "".join(told).replace(str(tmp_path), "")


def test_a_password_in_the_hubs_address_is_refused_and_not_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "https://me:planted@mirror/hub")
    (told,) = faults(tmp_path, GOOD)
    assert told.startswith("HF_ENDPOINT: holds a name or password") and "planted" not in told
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror/hub")
    load(tmp_path, GOOD)
