from sftflow.rates import depths, layered_groups

NAMES = [
    "model.embed_tokens.weight",
    "model.layers.0.q.weight",
    "model.layers.0.q.bias",
    "model.layers.1.q.weight",
    "model.norm.weight",
    "lm_head.weight",
]


def test_depth_counts_from_the_embeddings_up():
    assert list(depths(NAMES).values()) == [0, 1, 1, 2, 3, 3]
    adapter = ["base_model.model.model.layers.11.q_proj.lora_A.default.weight"]
    assert depths(adapter) == {adapter[0]: 12}
    assert list(depths(["transformer.wpe.weight", "transformer.h.0.ln_1.weight"]).values()) == [
        0,
        1,
    ]


def test_the_rate_falls_from_layer_to_layer():
    weights = {name: name for name in NAMES}
    decayed = {name for name in NAMES if "bias" not in name and "norm" not in name}
    groups = layered_groups(NAMES, weights, decayed, 0.8, 0.5, 0.1)
    said = [(g["params"], g["lr"], g["weight_decay"]) for g in groups]
    assert said == [
        (["lm_head.weight"], 0.8, 0.1),
        (["model.norm.weight"], 0.8, 0.0),
        (["model.layers.1.q.weight"], 0.4, 0.1),
        (["model.layers.0.q.weight"], 0.2, 0.1),
        (["model.layers.0.q.bias"], 0.2, 0.0),
        (["model.embed_tokens.weight"], 0.1, 0.1),
    ]


def test_the_highest_layer_that_is_trained_has_the_full_rate():
    weights = {name: name for name in NAMES if name.endswith(".bias")}
    assert [g["lr"] for g in layered_groups(NAMES, weights, set(), 0.8, 0.5, 0.1)] == [0.8]
