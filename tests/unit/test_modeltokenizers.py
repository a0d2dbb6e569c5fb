"""The tokenizer of a model folder: the class that the folder names, and what others make of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chat_fixture import CHATML, chat_tokenizer

from sftflow.modeltokenizers import (
    difference,
    load_as_others_do,
    load_tokenizer,
    name_class,
)
from sftflow.stage import StageError

SCRIPTS = Path(__file__).parents[2] / "scripts"


def save_model(folder, pre_tokenizer=None):
    """Save a tokenizer and the config of a model type that has a tokenizer of its own."""
    from transformers import Qwen2Config

    tokenizer = chat_tokenizer(CHATML)
    if pre_tokenizer is not None:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.save_pretrained(folder)
    Qwen2Config().save_pretrained(folder)


def say_class(folder, name, **more):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": name} | more))


@pytest.mark.parametrize("load", [load_tokenizer, load_as_others_do])
def test_a_folder_without_tokenizer_is_refused(tmp_path, load):
    with pytest.raises(StageError, match=r"no tokenizer\.json"):
        load(tmp_path)


def test_a_swapped_tokenizer_is_refused(tmp_path):
    """Transformers gives model_type qwen2 another pre-tokenizer, whatever the file says."""
    from tokenizers import pre_tokenizers

    save_model(tmp_path, pre_tokenizers.ByteLevel(add_prefix_space=False))
    with pytest.raises(StageError, match="otherwise than"):
        load_as_others_do(tmp_path)


@pytest.mark.parametrize(
    "named", ["Qwen2Tokenizer", "Qwen2TokenizerFast", "NoSuchTokenizer", "TokenizersBackend", None]
)
def test_both_ways_give_the_same_tokenizer(tmp_path, named):
    save_model(tmp_path)
    say_class(tmp_path, named)
    here, there = load_tokenizer(tmp_path), load_as_others_do(tmp_path)
    assert type(here) is type(there)
    turns = [{"role": "user", "content": "a question 12"}]
    assert here.apply_chat_template(turns) == there.apply_chat_template(turns)


def test_the_folder_names_the_class_that_others_take(tmp_path):
    """A generic name leaves it to the model type; written out, no import is needed to know."""
    save_model(tmp_path)
    say_class(tmp_path, "TokenizersBackend", kept=1)
    tokenizer = load_as_others_do(tmp_path)
    name_class(tmp_path, tokenizer)
    said = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (said["tokenizer_class"], said["kept"]) == ("Qwen2Tokenizer", 1)
    say_class(tmp_path, "Qwen2TokenizerFast")
    before = (tmp_path / "tokenizer_config.json").read_bytes()
    name_class(tmp_path, tokenizer)
    assert (tmp_path / "tokenizer_config.json").read_bytes() == before


def test_a_named_class_that_cuts_otherwise_is_not_taken(tmp_path):
    """BertTokenizer can't even read this vocabulary; AutoTokenizer does not take it either."""
    save_model(tmp_path)
    say_class(tmp_path, "BertTokenizer")
    assert type(load_tokenizer(tmp_path)).__name__ != "BertTokenizer"
    assert difference(load_tokenizer(tmp_path), tmp_path) is None


def test_a_tokenizer_needs_no_modelling_code(tmp_path):
    save_model(tmp_path)
    say_class(tmp_path, "Qwen2Tokenizer")
    code = (
        "import sys; from sftflow.modeltokenizers import load_tokenizer; "
        f"load_tokenizer({str(tmp_path)!r}); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SCRIPTS)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
