"""Quantised exports: weights rounded as by hand, proven against the merged model, or refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

import measure_loss
import quantize_model
from sftflow import quantizing
from sftflow.manifests import read_manifest, write_manifest
from sftflow.savedmodels import load
from sftflow.schemes import SCHEMES, shape_faults
from sftflow.stage import StageError

LAYER = "model.layers.0.mlp.down_proj"  # 128 outputs, 256 inputs
ROWS = [[int(x) for x in np.random.default_rng(i).integers(0, 64, 24)] for i in range(6)]


def vouch(folder):
    """Write the folder's SHA256SUMS anew."""
    (folder / "manifest.json").unlink(missing_ok=True)
    payloads = [path for path in folder.iterdir() if path.name != "SHA256SUMS"]
    write_manifest(folder / "manifest.json", stage="merge_adapter", spec={}, payloads=payloads)


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """Return the folder of a small merged model that has opinions, in bfloat16."""
    folder = tmp_path_factory.mktemp("models") / "mine"
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=64,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.1,
    )
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").write_text('{"eos_token_id": 3}\n')
    (folder / "tokenizer.json").write_text('{"any": "tokenizer"}\n')
    (folder / "README.md").write_text("# mine\n")
    vouch(folder)
    templated = folder.parent / "tokens"
    templated.mkdir()
    for side in ("train", "validation"):
        rows = pa.table({"input_ids": pa.array(ROWS, pa.list_(pa.int32()))})
        pq.write_table(rows, templated / f"{side}.parquet")
    return folder


def export(merged, folder, scheme="w8a8"):
    """Run the stage; return the folder's manifest."""
    spec = {"model": f"mine+{scheme}", "run": "mine", "scheme": scheme}
    named = {"model": merged, "templated": merged.parent / "tokens", "quantized": folder}
    told = [text for key, path in named.items() for text in (f"--{key}", str(path))]
    manifest = folder / "manifest.json"
    quantize_model.main(["--spec", json.dumps(spec), *told, "--manifest", str(manifest)])
    return read_manifest(manifest)


@pytest.fixture(scope="module")
def exports(merged, tmp_path_factory):
    """Return scheme -> folder, each made once."""
    root = tmp_path_factory.mktemp("quantized")
    for scheme in SCHEMES:
        export(merged, root / scheme, scheme)
    return {scheme: root / scheme for scheme in SCHEMES}


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_eight_bits_are_steps_of_each_channels_largest_weight(merged, exports):
    """A scale is max |w| / 127.5, rounded to the model's bfloat16; a weight is round(w / scale)."""
    weight = weights(merged)[f"{LAYER}.weight"]
    found = weights(exports["w8a8"])
    scale = (weight.abs().amax(1, keepdim=True) / 127.5).bfloat16()
    assert torch.equal(found[f"{LAYER}.weight_scale"], scale)
    steps = (weight / scale).round().clamp(-128, 127).to(torch.int8)
    assert torch.equal(found[f"{LAYER}.weight"], steps)


def test_four_bits_have_a_scale_for_each_group_of_128(merged, exports):
    weight = weights(merged)[f"{LAYER}.weight"].unflatten(1, (2, 128))  # (128, 2, 128)
    found = weights(exports["w4a16"])
    scale = (weight.abs().amax(2) / 7.5).bfloat16()
    assert torch.equal(found[f"{LAYER}.weight_scale"], scale)
    steps = (weight / scale.unsqueeze(2)).round().clamp(-8, 7).flatten(1).to(torch.int32)
    packed = found[f"{LAYER}.weight_packed"]  # eight weights in 32 bits, the first lowest
    places = [(packed >> (4 * i)) & 15 for i in range(8)]
    assert torch.equal(torch.stack(places, 2).flatten(1) - 8, steps)


def test_what_is_not_a_linear_layer_stays_as_it_was(merged, exports):
    before = weights(merged)
    for folder in exports.values():
        after = weights(folder)
        kept = [name for name in before if "_proj.weight" not in name]
        assert kept and all(torch.equal(before[name], after[name]) for name in kept)
        for name in ("tokenizer.json", "generation_config.json"):
            assert (folder / name).read_bytes() == (merged / name).read_bytes()


def logits(model):
    with torch.no_grad():
        return model(torch.tensor(ROWS)).logits


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_proof_is_of_the_folder_as_it_is_read_back(merged, exports, scheme):
    proof = read_manifest(exports[scheme] / "manifest.json")["proof"]["quantized"]
    difference = (logits(load(merged)) - logits(load(exports[scheme]))).abs().max()
    assert proof["max_logit_difference"] == pytest.approx(float(difference), 1e-3)
    assert proof["positions"] == len(ROWS) * len(ROWS[0])
    assert 0 < proof["mean_kl"] < quantizing.MOST_KL


@pytest.mark.parametrize("scheme", SCHEMES)
def test_its_loss_is_measured_on_the_same_numbers(exports, scheme, monkeypatch):
    """The stage that measures losses reads the folder in its own dtype and computes in float32."""
    monkeypatch.setattr(measure_loss, "load_tokenizer", lambda _: None)
    model, _ = measure_loss.load(exports[scheme])
    torch.testing.assert_close(logits(model), logits(load(exports[scheme])), atol=1e-4, rtol=1e-4)


def test_more_bits_are_nearer(exports):
    proofs = {s: read_manifest(f / "manifest.json")["proof"] for s, f in exports.items()}
    kl = {scheme: proof["quantized"]["mean_kl"] for scheme, proof in proofs.items()}
    assert kl["w8a16"] < kl["w8a8"] < kl["fp8_dynamic"] < kl["w4a16"]


def test_it_is_told_what_it_weighs(merged, exports):
    manifest = read_manifest(exports["w4a16"] / "manifest.json")
    sizes = manifest["counts"]["weight_bytes"]
    assert sizes["merged"] == (merged / "model.safetensors").stat().st_size
    assert sizes["quantized"] == manifest["outputs"]["model.safetensors"]["bytes"]
    assert manifest["counts"]["quantized_layers"] == 7
    assert manifest["versions"]["compressed-tensors"]
    card = (exports["w4a16"] / "README.md").read_text()
    assert card.startswith("# mine+w4a16\n") and "W4A16" in card
    assert "README.md" not in (exports["w4a16"] / "SHA256SUMS").read_text()


def test_made_again_it_has_the_same_bytes(merged, exports, tmp_path):
    export(merged, tmp_path / "again")
    for path in sorted(exports["w8a8"].iterdir()):
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def refused(merged, folder):
    with pytest.raises(StageError) as caught:
        export(merged, folder)
    assert not folder.exists() and not list(folder.parent.glob(".*.part"))
    return str(caught.value)


def test_wrong_scales_are_refused(merged, tmp_path, monkeypatch):
    def spoilt(model, scheme):
        names = quantizing.quantize(model, scheme)
        for name in names:
            model.get_submodule(name).weight_scale.data.mul_(40)
        return names

    monkeypatch.setattr(quantize_model, "quantize", spoilt)
    said = refused(merged, tmp_path / "q")
    assert said.startswith("mine+w8a8: the quantised model is far from the merged one")
    assert said.endswith("; use another scheme")


def damaged(merged, folder, change):
    """Return a copy of the merged model after ``change`` of its weights."""
    folder.mkdir()
    for path in merged.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = weights(folder)
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    vouch(folder)
    (folder.parent / "tokens").symlink_to(merged.parent / "tokens")
    return folder


def test_a_model_with_numbers_that_are_none_is_refused(merged, tmp_path):
    def nan(tensors):
        tensors[f"{LAYER}.weight"][0, 0] = float("nan")

    broken = damaged(merged, tmp_path / "mine", nan)
    said = refused(broken, tmp_path / "q")
    assert said == (
        "mine+w8a8: the quantised model's logits are no finite numbers; use another scheme"
    )


def test_weights_that_changed_after_the_merge_are_refused(merged, tmp_path):
    broken = damaged(merged, tmp_path / "mine", lambda _: None)
    (broken / "model.safetensors").write_bytes(b"cut off")
    assert "has changed since it was made" in refused(broken, tmp_path / "q")


SHAPES = {
    "fits": ("w4a16", {"hidden_size": 256, "intermediate_size": 768}, ""),
    "nothing is known": ("w4a16", {"hidden_size": None}, ""),
    "no groups": ("w8a8", {"hidden_size": 100}, ""),
    "groups": ("w8a16", {"hidden_size": 256, "intermediate_size": 300}, "intermediate_size is 300"),
    "experts": ("w8a8", {"num_local_experts": 8}, "a mixture of experts is not quantised here"),
    "twice": ("w8a8", {"quantization_config": {"bits": 4}}, "the weights are quantised already"),
}


@pytest.mark.parametrize(("scheme", "config", "expected"), SHAPES.values(), ids=SHAPES)
def test_what_a_scheme_asks_of_a_models_shape(scheme, config, expected):
    said = "; ".join(shape_faults(scheme, config))
    assert expected in said and bool(said) == bool(expected)
