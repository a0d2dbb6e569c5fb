"""What is fetched from the hub is vouched for, file by file, and is all that a base is made of."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import fetch_base
from sftflow import hub
from sftflow.folders import check_payloads
from sftflow.manifests import read_manifest
from sftflow.modelfolders import link
from sftflow.stage import StageError

REVISION = "0" * 40


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Return the folder that the hub would send, as links into its cache."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    blobs.mkdir()
    snapshot.mkdir()
    for name in ("config.json", "tokenizer.json", "README.txt", "optimizer.pt", "evil.py"):
        (blobs / name).write_text("{}")
    save_file({"a": torch.zeros(2)}, blobs / "model.safetensors")
    for blob in blobs.iterdir():
        (snapshot / blob.name).symlink_to(blob)

    def snapshot_of(_name, _revision, _code, cache):
        cache.mkdir(parents=True, exist_ok=True)
        return str(snapshot)

    monkeypatch.setattr(hub, "download", snapshot_of)
    return snapshot


def fetch(folder, **more):
    spec = {"hub": "owner/name", "revision": REVISION, "trust_remote_code": False, **more}
    manifest = folder / "manifest.json"
    fetch_base.main(
        ["--spec", json.dumps(spec), "--folder", str(folder), "--manifest", str(manifest)]
    )
    return read_manifest(manifest)


def test_the_files_are_taken_and_summed(repository, tmp_path):
    folder = tmp_path / "results/hub/b"
    manifest = fetch(folder)
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= set(manifest["outputs"])
    assert "evil.py" not in manifest["outputs"] and "evil.py" in manifest["left_out"]
    assert manifest["settings"]["revision"] == REVISION
    check_payloads(folder)
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert not list((folder.parent / ".hub").iterdir())  # no cache is left


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_disk_without_hard_links_gets_the_files_themselves(
    repository, tmp_path, monkeypatch, number
):
    """Links into the cache would lead nowhere as soon as the cache is gone."""

    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    folder = tmp_path / "results/hub/b"
    fetch(folder)
    shutil.rmtree(repository)
    shutil.rmtree(tmp_path / "blobs")
    check_payloads(folder)
    # Of a folder that stays a link will do, where links are to be had.
    link(folder / "config.json", tmp_path / "linked")
    assert (tmp_path / "linked").is_symlink()
    monkeypatch.setattr(os, "symlink", refused)
    link(folder / "config.json", tmp_path / "copied")
    assert (tmp_path / "copied").read_text() == "{}" and not (tmp_path / "copied").is_symlink()


def test_a_damaged_file_is_noticed(repository, tmp_path):
    fetch(tmp_path / "b")
    Path(tmp_path / "b/model.safetensors").write_bytes(b"cut off")
    with pytest.raises(StageError, match="has changed since it was made"):
        check_payloads(tmp_path / "b")


def test_a_missing_shard_ends_the_fetch(repository, tmp_path):
    shards = {"weight_map": {"a": "1.safetensors"}}
    (repository / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(StageError, match="lacks 1 of 1 weight files"):
        fetch(tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("revision", [None, "main"])
def test_a_revision_is_a_commit(revision, tmp_path):
    with pytest.raises(StageError, match="40 hex digits"):
        fetch(tmp_path / "b", revision=revision)
