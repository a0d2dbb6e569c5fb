"""Measure a model's loss on held-out texts and on the validation rows of its training data.

reads   the model folder; texts (UTF-8); validation.parquet of each templated folder
writes  loss.json: {model, dtype, max_length, losses: {name: {value, stderr, n, unit,
        bits_per_byte, bytes}}}, names text.{text} and validation.{folder}

The value is the mean loss per scored token in nats; exp(value) is the perplexity. Tokens of one
row, or of one window of a text, are not independent, and the standard error takes that into
account. Bits per byte can be compared between models with different tokenizers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sftflow.estimates import ratio_estimate
from sftflow.jobs import project_path
from sftflow.losses import Scored, batch_losses, batches, scored_tokens, windows
from sftflow.manifests import write_json
from sftflow.modeltokenizers import load_tokenizer
from sftflow.records import read_rows
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser

MAX_LENGTH = 1024  # window over a text (tokens), if the spec and the model allow as much

Texts = dict[str, tuple[list[Scored], int]]  # name -> sequences, bytes of the scored tokens


def load(folder: Path) -> tuple[Any, Any]:
    """Return model and tokenizer: float32 on a CPU, on a GPU bfloat16 if the weights are half."""
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="auto")
    on_gpu = torch.cuda.is_available()
    half = model.dtype in (torch.bfloat16, torch.float16) and on_gpu
    dtype = torch.bfloat16 if half and torch.cuda.is_bf16_supported() else torch.float32
    return model.to("cuda" if on_gpu else "cpu", dtype).eval(), tokenizer


def text_sequences(path: Path, tokenizer: Any, length: int) -> tuple[list[Scored], int]:
    """Return windows over a text, and how many of its bytes are scored.

    The first token has nothing before it unless the tokenizer has a BOS token.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{path} can't be read as UTF-8 text: {error}") from None
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, scored = encoded["input_ids"], text
    if len(ids) < 2:
        raise StageError(f"{path} has {len(ids)} tokens; a loss needs a longer text")
    if tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id, *ids]
    else:
        scored = text[encoded["offset_mapping"][0][1] :]
    return windows(ids, length, max(1, length // 2)), len(scored.encode())


def validation_sequences(folder: Path, tokenizer: Any) -> tuple[list[Scored], int]:
    """Return the validation rows of a templated folder, and how many bytes are scored."""
    rows = [
        Scored(row["input_ids"], row["labels"])
        for row in read_rows(folder / "validation.parquet", ["input_ids", "labels"])
    ]
    scored = [[x for x in row.labels if x >= 0] for row in rows]
    return rows, sum(len(tokenizer.decode(ids).encode()) for ids in scored)


def measured(model: Any, sequences: list[Scored], size: int, pad_id: int, done: Progress):
    """Return the loss per token of sequences, with its error, and in bits per byte."""
    counts = [scored_tokens(sequence) for sequence in sequences]
    usable = [i for i, count in enumerate(counts) if count]
    sums = [0.0] * len(sequences)
    for batch in batches([len(sequences[i].input_ids) for i in usable], model.config.vocab_size):
        chosen = [usable[i] for i in batch]
        losses = batch_losses(model, [sequences[i] for i in chosen], pad_id)
        for i, loss in zip(chosen, losses, strict=True):
            sums[i] = loss
        done.add(sum(counts[i] for i in chosen))
    total = math.fsum(sums)
    if not math.isfinite(total):
        raise StageError("the loss is not a finite number; the model's weights are damaged")
    return {
        **ratio_estimate(sums, counts),
        "unit": "nats/token",
        "bits_per_byte": total / math.log(2) / size if usable and size else None,
        "bytes": size,
    }


def main(argv: list[str] | None = None) -> None:
    """Load the model, run it over everything, write the losses."""
    parser = stage_parser(__doc__, "model", "loss")
    parser.add_argument("--templated", type=Path, nargs="*", default=[])
    args = parser.parse_args(argv)
    spec = args.spec
    model, tokenizer = load(args.model)
    limits = [spec.get("max_length"), getattr(model.config, "max_position_embeddings", None)]
    length = min([MAX_LENGTH, *(n for n in limits if n)])
    parts: Texts = {
        f"text.{name}": text_sequences(project_path(path), tokenizer, length)
        for name, path in spec["texts"].items()
    }
    for folder in args.templated:
        parts[f"validation.{folder.name}"] = validation_sequences(folder, tokenizer)
    total = sum(scored_tokens(s) for sequences, _ in parts.values() for s in sequences)
    done = Progress(total, "tokens")
    pad_id = tokenizer.pad_token_id or 0
    losses = {name: measured(model, *part, pad_id, done) for name, part in parts.items()}
    dtype = str(model.dtype).removeprefix("torch.")
    write_json(
        args.loss,
        {"model": spec["model"], "dtype": dtype, "max_length": length, "losses": losses},
    )
    figures = (f"{k} {v['value']:.3f}" for k, v in losses.items() if v["value"] is not None)
    console().say(f"{spec['model']}: loss per token (nats): {', '.join(figures)}")


if __name__ == "__main__":
    run_stage(main)
