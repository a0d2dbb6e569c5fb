import json
import math

import pytest
import torch

from sftflow.merging import (
    compare,
    copy_tokenizer_files,
    proof_faults,
    proof_rows,
    write_generation_config,
)


def test_a_comparison_by_hand():
    one = [torch.tensor([[0.0, 1.0], [2.0, 0.0]])]
    other = [torch.tensor([[0.0, 1.0], [0.0, 0.5]])]
    seen = compare(one, other)
    assert seen["max_logit_difference"] == 2.0
    assert seen["greedy_agreement"] == 0.5
    # second position: p = softmax(2, 0), q = softmax(0, 0.5); the first has no divergence
    p, q = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(0.5))
    kl = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert seen["mean_kl"] == pytest.approx(kl / 2, rel=1e-5)
    assert compare([], []) == {
        "rows": 0,
        "positions": 0,
        "max_logit_difference": None,
        "greedy_agreement": None,
        "mean_kl": None,
    }


def test_a_difference_that_is_no_number_is_not_lost_among_others():
    rows = [torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, float("nan")]]), torch.zeros(1, 2)]
    seen = compare(rows, [torch.zeros(1, 2)] * 3)
    assert math.isnan(seen["max_logit_difference"])


def test_a_merge_is_w_plus_scaled_ba():
    """PEFT's merge on a 4x4 matrix: W + (alpha / r) B A."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False))
    before = layer[0].weight.detach().clone()
    model = get_peft_model(layer, LoraConfig(r=2, lora_alpha=6, target_modules=["0"]))
    lora = model.base_model.model[0]
    a, b = lora.lora_A["default"].weight, lora.lora_B["default"].weight
    torch.nn.init.normal_(b)
    expected = before + (6 / 2) * (b @ a)
    merged = model.merge_and_unload(safe_merge=True)
    torch.testing.assert_close(merged[0].weight, expected)


def difference(value, agreement=1.0, positions=10):
    return {
        "max_logit_difference": value,
        "greedy_agreement": agreement,
        "positions": positions,
    }


@pytest.mark.parametrize(
    ("merged", "trained", "tuned", "dtype", "fault"),
    [
        ((1e-5,), 5.0, 5.0, "float32", None),
        ((0.2, 0.99), 5.0, 5.0, "bfloat16", None),
        ((0.2, 0.99), 5.0, 5.0, "float32", "differ by up to 0.2"),
        ((0.2, 0.9), 5.0, 5.0, "bfloat16", "only 90.00% of 10 positions"),
        ((math.nan, 1.0), 5.0, math.nan, "float32", "differ by up to nan"),
        ((0.0,), 0.0, 0.0, "float32", "the training changed nothing"),
        ((0.8, 0.99), 0.8, 0.01, "bfloat16", "lost in the merged weights"),  # base saved again
    ],
)
def test_planted_merges(merged, trained, tuned, dtype, fault):
    proof = {
        "merged": difference(*merged),
        "trained": difference(trained),
        "tuned": difference(tuned),
    }
    faults = proof_faults(proof, dtype)
    assert (faults == []) is (fault is None), faults
    if fault:
        assert fault in " ".join(faults)


def test_a_bound_of_the_user_counts():
    good = {"merged": difference(1e-5), "trained": difference(5.0), "tuned": difference(5.0)}
    assert proof_faults(good, "float32", bound=1e-6)
    nothing = {key: difference(None, None, 0) for key in good}
    assert "no row" in proof_faults(nothing, "float32")[0]


def test_rows_for_the_proof_are_bounded():
    rows = [{"input_ids": list(range(600))} for _ in range(5)]
    assert [len(row) for row in proof_rows(iter(rows))] == [600, 424]
    assert proof_rows([]) == []


def test_files_around_the_weights(tmp_path):
    base, target = tmp_path / "base", tmp_path / "target"
    base.mkdir()
    target.mkdir()
    for name in ("tokenizer.json", "chat_template.jinja", "vocab.json"):
        (base / name).write_bytes(name.encode() + b"\r\n\xff")
    for name in ("config.json", "model.safetensors", "manifest.json", "SHA256SUMS"):
        (base / name).write_bytes(b"{}")
    (base / "model.safetensors.index.json").write_text("{}")
    copied = copy_tokenizer_files(base, target)
    assert copied == ["chat_template.jinja", "tokenizer.json", "vocab.json"]
    assert (target / "vocab.json").read_bytes() == b"vocab.json\r\n\xff"


@pytest.mark.parametrize(
    ("eos", "ends"), [(None, 7), (7, 7), (2, [7, 2]), ([2, 7], [7, 2]), ([2, 3], [7, 2, 3])]
)
def test_the_end_of_turn_token_ends_a_generation(tmp_path, eos, ends):
    base, target = tmp_path / "base", tmp_path / "target"
    base.mkdir()
    target.mkdir()
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": eos, "top_p": 0.8}))
    write_generation_config(base, target, 7)
    config = json.loads((target / "generation_config.json").read_text())
    assert config == {"eos_token_id": ends, "top_p": 0.8}
