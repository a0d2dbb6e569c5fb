"""Quantise a merged model, prove how near it stays, and leave a plain Hugging Face folder.

reads   model/ (a run's merged model); templated/ (rows to compare the two models on)
writes  quantized/: config with the scheme, safetensors in the format of compressed-tensors,
        tokenizer files and generation config as they are in the merged model, README.md,
        manifest.json with the proof and the sizes, SHA256SUMS
spec    model, run, scheme

The weights are rounded in the merged model's own dtype. What is compared is the folder as written:
read back and computed in float32, activations rounded as the scheme has it.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from sftflow.folders import built_beside, check_payloads, make_readable
from sftflow.manifests import write_manifest, write_text
from sftflow.merging import compare, copy_tokenizer_files, logits_of, proof_rows
from sftflow.modelfolders import read_json, weight_files
from sftflow.modelimports import import_models
from sftflow.quantizing import quantization_fault, quantize, save_quantized
from sftflow.records import read_rows
from sftflow.savedmodels import SHARD, load, saved_dtype
from sftflow.schemes import SCHEMES, shape_faults
from sftflow.stage import StageError, console, run_stage, stage_parser

logger = logging.getLogger("sftflow")

PACKAGES = ("torch", "transformers", "compressed-tensors", "safetensors")
CARD = "README.md"
NO_PAYLOAD = ("manifest.json", "SHA256SUMS", CARD)
MIB = 2**20


def weight_bytes(folder: Path) -> int:
    """Return the bytes of a model's weights on disk."""
    return sum(path.stat().st_size for path in weight_files(folder))


def as_saved(model: Any, dtype: str) -> Any:
    """Return the model in the dtype of its folder, from which it was read into float32."""
    import torch

    return model.to(getattr(torch, dtype))


def write_model(model: Any, merged: Path, built: Path) -> None:
    """Write the quantised folder to ``built``, with what the merged one has beside its weights."""
    save_quantized(model, built, SHARD)
    copy_tokenizer_files(merged, built)
    shutil.copyfile(merged / "generation_config.json", built / "generation_config.json")


def model_card(spec: dict[str, Any], proof: dict[str, Any], sizes: dict[str, int]) -> str:
    """Return README.md: what it was made from, and what was measured of it."""
    return (
        f"# {spec['model']}\n\n"
        f"- quantised from: {spec['run']}, whose card says what it was trained on\n"
        f"- scheme: {SCHEMES[spec['scheme']].preset}, rounded to nearest without data, format of "
        "compressed-tensors; the output layer is not quantised\n"
        f"- weights: {sizes['quantized'] / MIB:.1f} MiB, of the merged model "
        f"{sizes['merged'] / MIB:.1f} MiB\n"
        f"- it chooses the same token as the merged model at {proof['greedy_agreement']:.2%} of "
        f"{proof['positions']} positions, and tells the next token worse by {proof['mean_kl']:.3g} "
        "nats on average\n"
    )


def compared_rows(templated: Path) -> list[list[int]]:
    """Return the token ids on which the two models are compared."""
    for side in ("validation", "train"):
        if rows := proof_rows(read_rows(templated / f"{side}.parquet", batch_rows=64)):
            return rows
    return []


def check_model(spec: dict[str, Any], merged: Path) -> None:
    """Raise StageError if the merged model is not as it was made, or does not fit the scheme."""
    check_payloads(merged)
    if faults := list(shape_faults(spec["scheme"], read_json(merged / "config.json"))):
        raise StageError(f"{spec['run']}: {'; '.join(faults)}")


def main(argv: list[str] | None = None) -> None:
    """Quantise, write beside, read back, compare, and only then put it in place."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    args = stage_parser(__doc__, "model", "templated", "quantized", "manifest").parse_args(argv)
    spec = args.spec
    check_model(spec, args.model)
    import_models()
    rows = compared_rows(args.templated)
    model, dtype = load(args.model), saved_dtype(args.model)
    of_merged = logits_of(model, rows)
    layers = quantize(as_saved(model, dtype), spec["scheme"])
    with built_beside(args.quantized) as built:
        write_model(model, args.model, built)
        del model
        proof = compare(of_merged, logits_of(load(built), rows))
        sizes = {"quantized": weight_bytes(built), "merged": weight_bytes(args.model)}
        logger.info("proof: %s, bytes: %s", proof, sizes)
        if fault := quantization_fault(proof):
            raise StageError(f"{spec['model']}: {fault}; use another scheme")
        write_text(built / CARD, model_card(spec, proof, sizes))
        make_readable(built)
    write_manifest(
        args.manifest,
        stage="quantize_model",
        spec=spec,
        payloads=[p for p in args.quantized.iterdir() if p.name not in NO_PAYLOAD],
        also=[args.quantized / CARD],
        inputs={"model": args.model / "SHA256SUMS"},
        packages=PACKAGES,
        counts={"quantized_layers": len(layers), "weight_bytes": sizes},
        dtype=dtype,
        proof={"quantized": proof},
    )
    console().say(
        f"{spec['scheme']}: {sizes['quantized'] / MIB:.1f} of {sizes['merged'] / MIB:.1f} MiB, "
        f"same token at {proof['greedy_agreement']:.2%} of {proof['positions']} positions"
    )


if __name__ == "__main__":
    run_stage(main)
