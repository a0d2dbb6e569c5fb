"""What a dry run and the doctor say of runs that don't fit."""

import json

import pytest
from test_memoryestimate import run

from sftflow import memoryfit
from sftflow.memoryfit import GIB, Device, base_shape, expected, fit, what_fits
from sftflow.modelshape import shape_of

# Llama 2 7B, as its config.json has it.
SEVEN = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
}


def base(**source):
    return {"make": None, "path": None, "hub": None, "revision": None, **source}


def config(folder, one, **source):
    """Return a checked config of one run, as far as this asks for it."""
    return {
        "root": str(folder),
        "bases": {"b": base(**source)},
        "runs": {"r": {**one, "base": "b"}},
    }


@pytest.fixture
def seven(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps(SEVEN))
    return tmp_path


def gpu(gib):
    return Device("cuda", gib * GIB, "the GPU")


def test_full_training_of_7b_cannot_fit_80_gib_and_is_told_so(seven):
    found = fit(config(seven, run("full"), path="model"), "r", gpu(80))
    assert found.sure
    # 6.74e9 parameters x (4 + 2 of autocast, 4, 8) bytes: 37.7 + 25.1 + 50.2 GiB
    assert "weights (37.7 GiB), gradients (25.1 GiB) and the optimizer's moments (50.2 GiB)" in (
        found.sentence
    )
    assert (
        "alone are 113.0 GiB, and the GPU has 80.0 GiB; what would fit: "
        "optim: adamw_8bit, gradient_checkpointing: true, per_device_train_batch_size: 2 with "
    ) in found.sentence
    assert "; method: lora, gradient_checkpointing: true (" in found.sentence
    assert ": per_device_train_batch_size" not in found.sentence  # no batch alone would


def test_moments_of_8_bits_are_named_where_they_make_it_fit(seven):
    """13.5 GiB instead of 50.2, the embeddings' (32,000 x 4,096) in 32 bits."""
    shape, eight = shape_of(SEVEN), run("full", {"optim": "adamw_8bit"})
    assert expected(shape, eight, "cuda").optimizer / GIB == pytest.approx(13.5, abs=0.05)
    said = "optim: adamw_8bit, gradient_checkpointing: true"
    assert said in what_fits(shape, run("full"), gpu(90))
    assert said not in what_fits(shape, eight, gpu(90))
    assert "adamw_8bit" not in what_fits(shape, run("full"), Device("cpu", 90 * GIB, "here"))


def test_a_batch_that_may_not_fit_is_a_warning_with_what_would(seven):
    found = fit(config(seven, run(), path="model"), "r", gpu(40))
    assert not found.sure
    assert "may not fit: a batch of 8 rows of 2048 tokens" in found.sentence
    assert "per_device_train_batch_size: 1 with gradient_accumulation_steps: 16 (" in found.sentence
    assert "gradient_checkpointing: true (" in found.sentence


def test_what_is_named_fits(seven):
    shape = shape_of(SEVEN)
    for said, gib in (("method: qlora, gradient", 14), ("gradient_checkpointing: true (", 40)):
        assert said in what_fits(shape, run(), gpu(gib))
    for ways in memoryfit.smaller(run(), "cuda"):
        for _, changed in ways:
            assert expected(shape, changed, "cuda").peak < expected(shape, run(), "cuda").peak


def test_a_step_keeps_its_rows():
    first = next(memoryfit.smaller(run(), "cpu"))
    for _, changed in first:
        training = changed["training"]
        rows = training["per_device_train_batch_size"] * training["gradient_accumulation_steps"]
        assert rows == 16


def test_what_fits_or_is_not_to_be_looked_at_is_not_told(seven):
    assert fit(config(seven, run(), path="model"), "r", gpu(1000)) is None
    unchecked = run("full", check_memory=False)
    assert fit(config(seven, unchecked, path="model"), "r", gpu(8)) is None


def test_a_base_is_known_by_its_config_alone(seven, monkeypatch):
    """Made here, a folder, fetched into results/, or in the hub's cache; else there is no word."""
    commit = "0" * 40
    monkeypatch.setenv("HF_HUB_CACHE", str(seven / "cache"))
    hub = config(seven, run(), hub="owner/name", revision=commit)
    results = seven / "results"
    assert base_shape(hub, "r", results) is None
    assert fit(hub, "r", gpu(1), results) is None
    for folder in (
        seven / f"cache/models--owner--name/snapshots/{commit}",
        results / "hub/b",
    ):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(SEVEN))
        assert base_shape(hub, "r", results).parameters == 6738415616
        (folder / "config.json").unlink()
    make = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    make |= {"num_key_value_heads": 1, "intermediate_size": 128, "vocab_size": 512}
    assert base_shape(config(seven, run(), make=make), "r", results).hidden == 64


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"model_type": "qwen2"}'])
def test_a_config_that_tells_nothing_stops_nobody(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert fit(config(tmp_path, run(), path="."), "r", gpu(1)) is None


def test_no_driver_is_no_gpu(monkeypatch):
    monkeypatch.setattr(memoryfit, "gpu_count", lambda: 1)
    monkeypatch.setenv("PATH", "")
    assert memoryfit.gpu_sizes() == []
