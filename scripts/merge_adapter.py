"""Merge an adapter into its base, prove the result, and leave a plain Hugging Face folder.

reads   run/adapter, run/manifest.json; base/ (the model it was trained on); templated/ (rows
        to compare the models on)
writes  model/: config, safetensors, tokenizer files as they are in the base, generation
        config with the end-of-turn token, README.md, manifest.json with the proof, SHA256SUMS,
        START.SHA256SUMS for a run that starts from it

The base is loaded in float32, the adapter added, and the sum rounded once to the target
dtype. What is compared is the folder as written: read back and computed in float32.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from sftflow.folders import START_SUMS, built_beside, check_payloads, make_readable
from sftflow.manifests import read_manifest, sha256_file, write_manifest, write_text
from sftflow.merging import (
    compare,
    copy_tokenizer_files,
    logits_of,
    proof_faults,
    proof_rows,
    write_generation_config,
)
from sftflow.methods import METHODS
from sftflow.modelfolders import write_start_sums
from sftflow.modelimports import import_models
from sftflow.records import read_rows
from sftflow.savedmodels import SHARD, load, saved_dtype
from sftflow.stage import StageError, console, run_stage, stage_parser

logger = logging.getLogger("sftflow")

PACKAGES = ("torch", "transformers", "peft", "safetensors")
CARD = "README.md"  # for people; what it says of the training changes no model
NO_PAYLOAD = ("manifest.json", "SHA256SUMS", CARD)


def check_base(run: dict[str, Any], base: Path) -> None:
    """Raise StageError unless ``base`` is the very model that the run started from."""
    check_payloads(base)
    given = sha256_file(base / START_SUMS)
    trained_on = run["base"]["sha256"]
    if given != trained_on:
        raise StageError(
            f"{run['settings']['run']} was trained on base {trained_on[:12]}, {base.name} is now "
            f"{given[:12]}; train again or put the old base back"
        )


def target_dtype(wanted: str, base: Path) -> str:
    """Return the dtype to save in; ``auto`` is that of the base's config."""
    return saved_dtype(base) if wanted == "auto" else wanted


def trained_model(run: Path, base: Path, method: str, rows: list) -> tuple[Any, list, list]:
    """Return the model with the training in its weights, and logits of base and trained one."""
    if METHODS[method].plain:
        model = load(base)
        of_base = logits_of(model, rows)
        model = load(run / "adapter")
        return model, of_base, logits_of(model, rows)
    from peft import PeftModel

    model = PeftModel.from_pretrained(load(base), run / "adapter")
    of_trained = logits_of(model, rows)
    with model.disable_adapter():
        of_base = logits_of(model, rows)
    return model.merge_and_unload(safe_merge=True), of_base, of_trained


def write_model(model: Any, base: Path, built: Path, dtype: str, end_of_turn: int) -> list[int]:
    """Write the merged folder to ``built``; return its eos tokens."""
    import torch

    model.to(getattr(torch, dtype)).save_pretrained(built, max_shard_size=SHARD)
    copy_tokenizer_files(base, built)
    return write_generation_config(base, built, end_of_turn)


def model_card(run: dict[str, Any], proof: dict[str, Any], dtype: str) -> str:
    """Return README.md: what it was made from and what was measured of it."""
    s, t = run["settings"], run["settings"]["training"]
    loss = run["counts"].get("averaged_eval_loss", run["counts"]["best_eval_loss"])
    return (
        f"# {s['run']}\n\n"
        f"- base: {run['base']['name']}\n- dataset: {run['dataset']}\n- method: {s['method']}\n"
        f"- epochs: {run['counts']['epochs']:g}, steps: {run['counts']['steps']}, "
        f"learning rate: {t['learning_rate']}\n"
        f"- validation loss: {'not measured' if loss is None else f'{loss:.4f}'}\n"
        f"- weights: {dtype}; trained and merged model choose the same token at "
        f"{proof['merged']['greedy_agreement']:.2%} of {proof['merged']['positions']} positions, "
        f"largest logit difference {proof['merged']['max_logit_difference']:.3g}\n"
    )


def main(argv: list[str] | None = None) -> None:
    """Merge, write beside, read back, compare, and only then put it in place."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    args = stage_parser(__doc__, "run", "base", "templated", "model", "manifest").parse_args(argv)
    spec = args.spec
    run = read_manifest(args.run / "manifest.json")
    check_payloads(args.run, "adapter/")
    check_base(run, args.base)
    import_models()
    end_of_turn = read_manifest(args.templated / "manifest.json")["end_of_turn"]["id"]
    dtype = target_dtype(spec["dtype"], args.base)
    rows = proof_rows(read_rows(args.templated / "validation.parquet", batch_rows=64))
    rows = rows or proof_rows(read_rows(args.templated / "train.parquet", batch_rows=64))
    model, of_base, of_trained = trained_model(args.run, args.base, spec["method"], rows)
    with built_beside(args.model) as built:
        ends = write_model(model, args.base, built, dtype, end_of_turn)
        del model
        of_merged = logits_of(load(built), rows)
        proof = {
            "merged": compare(of_trained, of_merged),
            "trained": compare(of_base, of_trained),
            "tuned": compare(of_base, of_merged),
        }
        logger.info("proof: %s", proof)
        faults = proof_faults(proof, dtype, spec.get("max_logit_difference"))
        if faults:
            raise StageError(f"{spec['run']}: {'; '.join(faults)}")
        write_text(built / CARD, model_card(run, proof, dtype))
        make_readable(built)
    write_manifest(
        args.manifest,
        stage="merge_adapter",
        spec=spec,
        payloads=[p for p in args.model.iterdir() if p.name not in NO_PAYLOAD],
        also=[args.model / CARD],
        inputs={"run": args.run / "manifest.json", "base": args.base / "SHA256SUMS"},
        packages=PACKAGES,
        base=run["base"],
        dataset=run["dataset"],
        dtype=dtype,
        eos_token_ids=ends,
        proof=proof,
    )
    write_start_sums(args.model)
    merged = proof["merged"]
    console().say(
        f"merged in {dtype}: largest logit difference {merged['max_logit_difference']:.3g}, same "
        f"token at {merged['greedy_agreement']:.2%} of {merged['positions']} positions"
    )


if __name__ == "__main__":
    run_stage(main)
