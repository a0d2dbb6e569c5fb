"""EWC: the Fisher information by another way of computing it, and what the penalty does."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen2Config, Qwen2ForCausalLM

from sftflow.ewc import WINDOW, Anchor, adapted_layers, anchor_of, fisher_diagonal, text_windows
from sftflow.stage import StageError

TEXT = "the cat sat on the mat and the dog sat on the cat " * 20


class Letters:
    """A tokenizer of one token per character."""

    def __call__(self, text, **_options):
        return {"input_ids": [ord(c) % 32 for c in text]}


def model_of():
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64}
    return Qwen2ForCausalLM(Qwen2Config(**sizes))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "general.txt"
    path.write_text(TEXT)
    return path


def anchored(model, text, strength=1.0, samples=4):
    ewc = {"text": "general", "lambda": strength, "samples": samples}
    return anchor_of({"ewc": ewc}, model, Letters(), {"general": text})


def test_windows_lie_evenly_over_the_text(text):
    ids = Letters()(TEXT)["input_ids"]
    assert text_windows(text, Letters(), 300, 9) == [
        ids[0:300], ids[300:600], ids[600:900], ids[900:]
    ]  # fmt: skip
    starts = [ids[0:100], ids[300:400], ids[600:700]]
    assert text_windows(text, Letters(), 100, 3) == starts


def test_a_text_that_says_nothing_is_refused(tmp_path):
    empty, broken = tmp_path / "empty.txt", tmp_path / "broken.txt"
    empty.write_text("a")
    broken.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(StageError, match=r"empty\.txt has 1 tokens; training\.ewc needs a longer"):
        text_windows(empty, Letters(), WINDOW, 4)
    with pytest.raises(StageError, match=r"broken\.txt can't be read as UTF-8"):
        text_windows(broken, Letters(), WINDOW, 4)


def test_the_fisher_of_two_tokens_is_their_mean_squared_gradient():
    """Windows of two tokens have one loss each, so nothing is assumed of them."""
    model = model_of()
    weight = model.model.layers[0].mlp.up_proj.weight
    windows = [[3, 7], [5, 1], [2, 2]]
    expected = torch.zeros_like(weight)
    for first, second in windows:
        log_p = model(input_ids=torch.tensor([[first]])).logits[0, 0].log_softmax(-1)[second]
        expected += torch.autograd.grad(log_p, weight)[0] ** 2 / 3
    weight.requires_grad_(False)
    found = fisher_diagonal(model, {"up": weight}, windows)["up"]
    torch.testing.assert_close(found, expected)
    assert not weight.requires_grad and weight.grad is None and model.training


def test_the_penalty_weighs_squares():
    fisher = {"a": torch.tensor([1.0, 4.0]), "b": torch.tensor([0.5])}
    moved = {"a": lambda: torch.tensor([2.0, 1.0]), "b": lambda: torch.tensor([-2.0])}
    assert Anchor(fisher, moved, 3.0).penalty().item() == 3 / 2 * (4 + 4 + 2)


def test_own_weights_are_held_where_they_were(text):
    model = model_of()
    for weight in model.parameters():
        weight.requires_grad_(False)
    bias = model.model.layers[0].self_attn.q_proj.bias.requires_grad_(True)
    anchor = anchored(model, text)
    assert list(anchor.fisher) == ["model.layers.0.self_attn.q_proj.bias"]
    assert anchor.penalty().item() == 0
    with torch.no_grad():
        bias += 0.1
    anchor.penalty().backward()
    torch.testing.assert_close(bias.grad, anchor.fisher[next(iter(anchor.fisher))] * 0.1)


def lora_of(model, **more):
    return get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", **more))


def test_of_lora_the_change_of_the_weights_is_held(text):
    model = lora_of(model_of(), lora_alpha=6, lora_dropout=0.5, use_rslora=True)
    anchor = anchored(model, text)
    assert anchor.penalty().item() == 0
    layers = adapted_layers(model)
    assert len(layers) == 7 == len(anchor.fisher)
    name = next(n for n in layers if n.endswith("up_proj"))
    layer = layers[name]
    assert not layer.get_base_layer().weight.requires_grad
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    change = 6 / 2**0.5 * (b @ a)
    expected = (anchor.fisher[name] * change**2).sum() / 2
    torch.testing.assert_close(anchor.penalty(), expected)
    gradients = torch.autograd.grad(anchor.penalty(), [a, b])
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, [a, b]))


def test_the_same_start_gives_the_same_fisher(text):
    one, other = (anchored(lora_of(model_of()), text).fisher for _ in range(2))
    assert all(one[name].equal(other[name]) for name in one)
    assert all(float(f.sum()) > 0 for f in one.values())


def test_at_lambda_1_the_penalty_is_near_the_rise_of_the_loss(text):
    """Of one weight at the minimum of the loss: there the second order is all, and diagonal."""
    model = model_of()
    for weight in model.parameters():
        weight.requires_grad_(False)
    head = model.lm_head.bias = torch.nn.Parameter(torch.zeros(32))
    window = torch.tensor([Letters()(TEXT)["input_ids"][:64]])

    def loss():
        return model(input_ids=window, labels=window).loss

    optimizer = torch.optim.LBFGS([head], max_iter=200, line_search_fn="strong_wolfe")
    optimizer.step(lambda: (optimizer.zero_grad(), loss().backward(), loss())[2])
    before = loss().item()
    windows = [window[0, at : at + 2].tolist() for at in range(63)]
    # the context of two tokens is another than that of the window, so the scale is what is tested
    anchor = Anchor(fisher_diagonal(model, {"b": head}, windows), {"b": lambda: head - kept}, 1.0)
    kept = head.detach().clone()
    with torch.no_grad():
        head[0] += 0.3  # the space, the likeliest
    rise = loss().item() - before
    assert 0.5 < anchor.penalty().item() / rise < 2
