"""A tiny start model, and the stage that prepares one as its rule calls it."""

import json

import prepare_base
from sftflow.manifests import read_manifest

MAKE = {
    "seed": 3,
    "vocab_size": 600,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "train_steps": 3,
    "batch_size": 2,
    "sequence_length": 16,
    "learning_rate": 0.005,
}


def spec(**more):
    return {
        "base": "tiny",
        "make": None,
        "path": None,
        "hub": None,
        "revision": None,
        "template": "chatml",
        "trust_remote_code": False,
        **more,
    }


def prepare(folder, *arguments, **more):
    manifest = folder / "manifest.json"
    told = ["--spec", json.dumps(spec(**more)), "--model", str(folder)]
    prepare_base.main([*told, "--manifest", str(manifest), *arguments])
    return read_manifest(manifest)
