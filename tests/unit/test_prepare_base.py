"""Start models: made from a seed, copied from a folder, refused with one sentence."""

import hashlib
import json
import random
import shutil
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import pytest
from base_fixture import MAKE, prepare

import fetch_base
import prepare_base
from sftflow import hub, modelfolders, pretraining
from sftflow.manifests import read_manifest
from sftflow.stage import StageError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    prepare(folder, make=MAKE)
    return folder


def bytes_of(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def probes():
    """Return 200 strings of many scripts and shapes, the same ones every time."""
    rng = random.Random(1)
    alphabets = (
        "abcXYZ  ",
        "0123456789 .,",
        "éßñÅ łœ",
        "жёЯ ",
        "漢字かな",
        "😀👍🏽 ",
        '{}":[], \n\t',
    )
    mixed = "".join(alphabets)
    fixed = ["", " ", "\n", "  two  spaces ", "e\u0301 é", "don't we'll", "a\r\nb", "\u200d\u00a0"]
    return fixed + [
        "".join(rng.choice(rng.choice((*alphabets, mixed))) for _ in range(rng.randrange(1, 40)))
        for _ in range(200 - len(fixed))
    ]


def test_same_seed_same_bytes_and_nothing_left_beside(made, tmp_path):
    again = tmp_path / "models" / "tiny"
    prepare(again, make=MAKE)
    assert bytes_of(again) == bytes_of(made)
    assert [p.name for p in again.parent.iterdir()] == ["tiny"]
    prepare(again, make={**MAKE, "seed": 4})
    assert bytes_of(again)["model.safetensors"] != bytes_of(made)["model.safetensors"]


def test_plain_folder_with_its_books(made):
    assert {p.name for p in made.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "manifest.json",
        "SHA256SUMS",
        "TOKENIZER.SHA256SUMS",
        "START.SHA256SUMS",
    }
    listed = (made / "START.SHA256SUMS").read_text()
    assert "model.safetensors" in listed
    assert "tokenizer.json" in listed
    assert "chat_template.jinja" not in listed
    manifest = read_manifest(made / "manifest.json")
    # embeddings 600 x 32; attention 32x32 q (+32), 32x16 k (+16), 32x16 v (+16), 32x32 o;
    # MLP 3 x 32 x 48; norms 3 x 32 (two of the layer, one at the end)
    attention = 32 * 32 + 32 + 2 * (32 * 16 + 16) + 32 * 32
    assert manifest["counts"]["parameters"] == 600 * 32 + attention + 3 * 32 * 48 + 3 * 32
    assert manifest["source"]["pretraining"]["documents"] == 3 * 2
    assert manifest["end_of_turn"] == "<|im_end|>"
    assert str(made.parent) not in (made / "manifest.json").read_text()


def test_transformers_cuts_text_as_the_file_says(made):
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    own = Tokenizer.from_file(str(made / "tokenizer.json"))
    loaded = AutoTokenizer.from_pretrained(made)
    texts = probes()
    assert len(texts) == 200
    for text in texts:
        ids = own.encode(text).ids
        assert loaded(text).input_ids == ids
        assert loaded.decode(ids) == unicodedata.normalize("NFC", text)


def test_special_tokens(made):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(made)
    assert tokenizer.convert_tokens_to_ids(list(pretraining.SPECIAL)) == [0, 1, 2]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    generation = json.loads((made / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [2]
    assert generation["pad_token_id"] == 0


def test_copies_a_folder_and_links_its_weights(made, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    modelfolders.copy_model(made, source, code=False)
    (source / "training_args.bin").write_bytes(b"pickle")
    (source / "evil.py").write_text("raise SystemExit")
    (source / "README.md").write_text("a card")
    copy = tmp_path / "models" / "mine"
    manifest = prepare(copy, path=str(source), template="native")
    assert (copy / "model.safetensors").stat().st_ino == (
        source / "model.safetensors"
    ).stat().st_ino
    assert manifest["source"] == {"kind": "path", "left_out": ["evil.py", "training_args.bin"]}
    assert not (copy / "evil.py").exists()
    assert not (copy / "README.md").exists()
    assert str(tmp_path) not in (copy / "manifest.json").read_text()


def test_a_style_replaces_the_models_own_template(made, tmp_path):
    manifest = prepare(tmp_path / "alpaca", path=str(made), template="alpaca")
    assert "### Response:\nZv4wj<|im_end|>" in manifest["sample"]
    own = tmp_path / "own.jinja"
    own.write_text(
        "{% for m in messages %}{{ m.role + ': ' + m.content + eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    manifest = prepare(tmp_path / "own", path=str(made), template=str(own))
    assert manifest["sample"].startswith("user: Qm7xk")


@pytest.fixture
def broken(made, tmp_path):
    """Return a copy of the made model that a test may spoil."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in made.iterdir():
        if path.name != "manifest.json":
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def drop(name):
    return lambda folder: (folder / name).unlink()


def only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lost_shard(folder):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def shards_elsewhere(folder):
    index = {"weight_map": {"a": "../models/model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def is_adapter(folder):
    (folder / "config.json").rename(folder / "adapter_config.json")


def lost_tensor(folder):
    from safetensors.numpy import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, path)


def unknown_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nosuch"}))


def said(name, *path, value):
    """Return what puts a value where nobody expects it, deep in a JSON file of the folder."""

    def spoil(folder):
        content = json.loads((folder / name).read_text())
        place = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        (folder / name).write_text(json.dumps(content))

    return spoil


def no_text(folder):
    (folder / "tokenizer_config.json").write_bytes(b"\xc3\x28\x00")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (said("tokenizer.json", "model", "merges", 0, value=5), "bases.tiny: the tokenizer or"),
        (said("tokenizer.json", "model", "merges", 0, value=["no", "sùch"]), "can't be read"),
        (said("config.json", "use_sliding_window", value=0), "use_sliding_window"),
        (said("generation_config.json", "eos_token_id", value=1.5), "eos_token_id of config.json"),
        (said("generation_config.json", "eos_token_id", value=[2, 40]), "names token 40, which is"),
        (said("config.json", "eos_token_id", value=40), "end answers at it"),
        (no_text, "can't be read: UnicodeDecodeError"),
        (drop("config.json"), "config.json is missing"),
        (drop("tokenizer.json"), "has no tokenizer.json"),
        (drop("model.safetensors"), "has no weights"),
        (only_pickle, "only as pickle"),
        (lost_shard, "lacks 1 of 1 weight files"),
        (shards_elsewhere, "names '../models/model.safetensors', which is no file of that folder"),
        (cut_weights, "is damaged"),
        (is_adapter, "is an adapter"),
        (lost_tensor, r"1 weights are in no file, model\.layers\.0\.mlp\.up_proj\.weight"),
        (unknown_kind, "no causal language model that loads"),
    ],
)
def test_what_is_wrong_with_a_folder(broken, tmp_path, spoil, sentence):
    spoil(broken)
    with pytest.raises(StageError, match=sentence):
        prepare(tmp_path / "out", path=str(broken), template="native")
    assert not list(tmp_path.glob(".out*"))
    assert not (tmp_path / "out").exists()


def test_a_template_whose_tokens_the_model_lacks(broken, tmp_path):
    with pytest.raises(StageError, match=r"never learn to stop"):
        prepare(tmp_path / "out", path=str(broken), template="llama3")


def test_native_needs_a_template(broken, tmp_path):
    (broken / "chat_template.jinja").unlink()
    with pytest.raises(StageError, match="no chat template"):
        prepare(tmp_path / "out", path=str(broken), template="native")


def test_tokenizer_of_another_model(broken, tmp_path):
    tokenizer = json.loads((broken / "tokenizer.json").read_text())
    last = max(tokenizer["model"]["vocab"].values())
    tokenizer["added_tokens"] += [
        {**tokenizer["added_tokens"][0], "id": last + 1, "content": "<|new|>"}
    ]
    (broken / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(StageError, match="the tokenizer has 601 tokens, the model embeds 600"):
        prepare(tmp_path / "out", path=str(broken), template="native")


def test_stop_ids_are_those_of_the_model_and_the_templates(tmp_path):
    (tmp_path / "config.json").write_text('{"eos_token_id": 5}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 5], "top_p": 0.8}')
    assert modelfolders.stop_ids(tmp_path, 3, None) == [3, 5, 7]
    modelfolders.write_generation_config(tmp_path, [3, 5, 7], 0)
    settings = json.loads((tmp_path / "generation_config.json").read_text())
    assert settings == {"eos_token_id": [3, 5, 7], "pad_token_id": 0, "top_p": 0.8}


def test_stops_that_end_no_text_are_kept(broken, tmp_path):
    """A control token of the model's own, and ids that its vocabulary does not have."""
    said("generation_config.json", "eos_token_id", value=[0, 2, 900, -1])(broken)
    facts = prepare(tmp_path / "out", path=str(broken), template="native")
    assert facts["eos_token_ids"] == [-1, 0, 2, 900]


def test_what_was_fetched_is_the_base(made, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "download", lambda *told: str(shutil.copytree(made, told[-1])))
    fetched, name = tmp_path / "hub/b", {"hub": "a/b", "revision": "0" * 40}
    told = json.dumps({**name, "trust_remote_code": False})
    fetch_base.main(
        ["--spec", told, "--folder", str(fetched), "--manifest", str(fetched / "manifest.json")]
    )
    out = tmp_path / "models/b"
    with pytest.raises(StageError, match="a/b is not fetched"):
        prepare(out, **name)
    manifest = prepare(out, "--fetched", str(fetched), **name)
    assert manifest["source"]["kind"] == "hub"
    assert (out / "model.safetensors").read_bytes() == (made / "model.safetensors").read_bytes()
    (fetched / "config.json").write_text("{}")
    with pytest.raises(StageError, match="has changed since it was made"):
        prepare(out, "--fetched", str(fetched), **name)


def test_hub_without_a_connection_is_one_sentence(tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(StageError, match="can't be fetched without a connection"):
        hub.download("a/b", "0" * 40, False, tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("hidden_size", 33, "even multiple"),
        ("num_key_value_heads", 3, "must be a multiple of num_key_value_heads"),
        ("sequence_length", 4096, "longer than"),
        ("vocab_size", 100, "no room for 256 bytes"),
    ],
)
def test_impossible_shapes(key, value, sentence):
    with pytest.raises(StageError, match=sentence):
        pretraining.check_shape({**MAKE, key: value})


def test_batches_hold_every_row_once_and_rows_of_like_length():
    rows = [[n] * (1 + n % 7) for n in range(50)]
    batches = pretraining.batches_of_like_length(rows, 4, seed=2)
    assert sorted(row for batch in batches for row in batch) == sorted(rows)
    assert len(batches) == 13  # 50 rows in fours
    assert all(max(map(len, b)) - min(map(len, b)) <= 1 for b in batches)
    assert batches == pretraining.batches_of_like_length(rows, 4, seed=2)
    assert batches != pretraining.batches_of_like_length(rows, 4, seed=3)


def test_padding_stands_behind_the_text_and_carries_no_loss():
    ids, labels = pretraining.padded([[5, 6, 7], [8]])
    assert ids.tolist() == [[5, 6, 7], [8, 0, 0]]
    assert labels.tolist() == [[5, 6, 7], [8, -100, -100]]


def test_learning_rate_rises_and_falls():
    factors = [pretraining.learning_rate_factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)  # 1/10 of the warm-up, cosine still at 1
    assert max(factors) == pytest.approx(factors[9], abs=0.02)
    assert factors[-1] == pytest.approx(0.05, abs=0.001)


def test_give_exactly_one_of_make_path_hub(tmp_path):
    with pytest.raises(StageError, match="one of make, path and hub"):
        prepare(tmp_path / "out", make=MAKE, path=str(Path("x")))


def test_what_a_template_is_told_is_written_into_it(made, tmp_path):
    from sftflow.modeltokenizers import load_tokenizer

    told = {"enable_thinking": False}
    native = {"make": None, "path": str(made), "template": "native"}
    manifest = prepare(tmp_path / "told", **native, chat_template_kwargs=told)
    template = (tmp_path / "told" / "chat_template.jinja").read_text()
    assert template.startswith("{%- if enable_thinking is not defined %}")
    assert template.endswith((made / "chat_template.jinja").read_text())
    assert manifest["sample"] == read_manifest(made / "manifest.json")["sample"]
    assert load_tokenizer(tmp_path / "told").chat_template == template


def test_a_variable_that_no_template_asks_for_is_told(made, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(prepare_base, "console", lambda: SimpleNamespace(say=shown.append))
    native = {"make": None, "path": str(made), "template": "native"}
    told = {"enable_thinkng": False}
    prepare(tmp_path / "told", **native, chat_template_kwargs=told)
    assert any("never asks for 'enable_thinkng', so it has no effect" in one for one in shown)
