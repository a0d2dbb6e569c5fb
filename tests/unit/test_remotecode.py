"""A model's own Python code: run for a base that the config trusts, and for no other."""

from __future__ import annotations

import json
import shutil

import pytest
from base_fixture import MAKE, prepare

import measure_loss
import merge_adapter
from sftflow import remotecode
from sftflow.folders import check_payloads
from sftflow.merging import copy_tokenizer_files
from sftflow.modeltokenizers import load_as_others_do, load_tokenizer
from sftflow.stage import StageError
from sftflow.training import start_model

CODE = """
from pathlib import Path
from transformers import Qwen2Config, Qwen2ForCausalLM

with Path({ran!r}).open("a") as file:
    file.write("ran\\n")


class OwnConfig(Qwen2Config):
    model_type = {kind!r}


class OwnModel(Qwen2ForCausalLM):
    config_class = OwnConfig
"""
MAPPED = {"AutoConfig": "own_model.OwnConfig", "AutoModelForCausalLM": "own_model.OwnModel"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    prepare(folder, make=MAKE)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Let transformers copy code into a folder of this test's."""
    import transformers.dynamic_module_utils as modules

    monkeypatch.setattr(modules, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def with_code(made, tmp_path, kind="own", mapped=MAPPED):
    """Return a model whose class is in its folder, and the file in which its code writes."""
    source, ran = tmp_path / "source", tmp_path / "ran.txt"
    shutil.copytree(made, source)
    (source / "manifest.json").unlink()
    (source / "own_model.py").write_text(CODE.format(ran=str(ran), kind=kind))
    config = json.loads((source / "config.json").read_text())
    config |= {"model_type": kind, "architectures": ["OwnModel"], "auto_map": mapped}
    (source / "config.json").write_text(json.dumps(config))
    return source, ran


def runs(ran):
    return ran.read_text().count("ran") if ran.exists() else 0


def test_code_runs_wherever_a_trusted_model_is_loaded(made, tmp_path):
    """Each of these loaders is that of a stage: training, loss, merge; and the merged folder."""
    source, _ = with_code(made, tmp_path)
    folder = tmp_path / "models" / "own"
    manifest = prepare(folder, path=str(source), template="native", trust_remote_code=True)
    assert manifest["source"]["left_out"] == []
    assert "own_model.py" in (folder / "SHA256SUMS").read_text()
    assert type(start_model(folder, "lora", "float32")).__name__ == "OwnModel"
    assert type(measure_loss.load(folder)[0]).__name__ == "OwnModel"
    assert merge_adapter.target_dtype("auto", folder) == "float32"
    model = merge_adapter.load(folder)
    merged = tmp_path / "models" / "merged"
    merge_adapter.write_model(model, folder, merged, "float32", 2)
    assert type(merge_adapter.load(merged)).__name__ == "OwnModel"
    assert remotecode.may_run_code(merged)
    for load in (load_tokenizer, load_as_others_do):
        assert len(load(folder)) == len(load(merged))
    (folder / "own_model.py").write_text("# changed")
    with pytest.raises(StageError, match=r"own_model\.py has changed"):
        check_payloads(folder)


def test_code_of_others_never_runs(made, tmp_path):
    """A kind that transformers knows is loaded by its own class; another one is refused."""
    source, ran = with_code(made, tmp_path, kind="qwen2")
    folder = tmp_path / "models" / "known"
    manifest = prepare(folder, path=str(source), template="native")
    assert manifest["source"]["left_out"] == ["own_model.py"]
    for model in (start_model(folder, "lora", "float32"), measure_loss.load(folder)[0]):
        assert type(model).__name__ == "Qwen2ForCausalLM"
    assert type(merge_adapter.load(folder)).__name__ == "Qwen2ForCausalLM"
    shutil.rmtree(source)
    source, ran = with_code(made, tmp_path)
    with pytest.raises(StageError, match=r"set bases\.tiny\.trust_remote_code: true"):
        prepare(tmp_path / "models" / "own", path=str(source), template="native")
    assert runs(ran) == 0


def test_code_in_another_repository_is_refused(made, tmp_path):
    mapped = {**MAPPED, "AutoModelForCausalLM": "someone/else--own_model.OwnModel"}
    source, ran = with_code(made, tmp_path, mapped=mapped)
    with pytest.raises(StageError, match=r"from another repository \(someone/else\)"):
        prepare(tmp_path / "own", path=str(source), template="native", trust_remote_code=True)
    assert runs(ran) == 0


def test_a_merged_folder_takes_the_code_of_its_base(tmp_path):
    base, merged = tmp_path / "base", tmp_path / "merged"
    base.mkdir()
    merged.mkdir()
    (base / "own_model.py").write_text("x = 1")
    (base / "tokenizer.json").write_text("{}")
    assert copy_tokenizer_files(base, merged) == ["own_model.py", "tokenizer.json"]
