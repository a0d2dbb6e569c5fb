"""Measure a model's loss on held-out texts, on validation rows and on some training rows.

reads   the model folder, and the adapter of a model that is not merged; texts (UTF-8);
        validation.parquet and train.parquet of each templated folder
writes  loss.json: {model, dtype, max_length, losses: {name: {value, stderr, n, unit,
        bits_per_byte, bytes}}, recitation: {folder: {train: {exact, prefix_tokens, asked_tokens},
        validation: {...}, recited: [ids of training rows]}}}, names of losses text.{text},
        validation.{folder} and train.{folder};
        rows: loss_rows.parquet, the loss of each row and stretch of text (lossrows.py)
spec    model, texts, memorisation: {rows, given_tokens, max_tokens}: how many training rows, and
        of how many validation rows it is told whether their answers are recited (recitation.py)

The value is the mean loss per scored token in nats; exp(value) is the perplexity. Tokens of one
row, or of one window of a text, are not independent, and the standard error takes that into
account. Bits per byte can be compared between models with different tokenizers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftflow.estimates import ratio_estimate
from sftflow.jobs import project_path
from sftflow.losses import Score, Scored, batch_scores, batches, scored_tokens, windows
from sftflow.lossrows import write_loss_rows
from sftflow.manifests import write_json
from sftflow.modelimports import import_models
from sftflow.modeltokenizers import load_tokenizer
from sftflow.recitation import recitation, sides
from sftflow.remotecode import may_run_code
from sftflow.stage import Progress, StageError, console, run_stage, stage_parser

MAX_LENGTH = 1024  # window over a text (tokens), if the spec and the model allow as much

Texts = dict[str, tuple[list[Scored], int]]  # name -> sequences, bytes of the scored tokens


def load(folder: Path, adapter: Path | None = None) -> tuple[Any, Any]:
    """Return model and tokenizer: float32 on a CPU, on a GPU bfloat16 if the weights are half.

    An adapter is put on the model, not merged into it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=may_run_code(folder),
        dtype="auto",
    )
    on_gpu = torch.cuda.is_available()
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
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


def byte_count(sequences: list[Scored], tokenizer: Any) -> int:
    """Return how many bytes of text the scored tokens say."""
    scored = [[x for x in sequence.labels if x >= 0] for sequence in sequences]
    return sum(len(tokenizer.decode(ids).encode()) for ids in scored)


def scores_of(
    model: Any, sequences: list[Scored], pad_id: int, done: Progress
) -> list[Score | None]:
    """Return the score of each sequence, None for one without a scored token."""
    counts = [scored_tokens(sequence) for sequence in sequences]
    usable = [i for i, count in enumerate(counts) if count]
    found: list[Score | None] = [None] * len(sequences)
    for batch in batches([len(sequences[i].input_ids) for i in usable], model.config.vocab_size):
        places = [usable[i] for i in batch]
        scores = batch_scores(model, [sequences[i] for i in places], pad_id)
        for i, score in zip(places, scores, strict=True):
            found[i] = score
        done.add(sum(counts[i] for i in places))
    return found


def mean_loss(sequences: list[Scored], scores: list[Score | None], size: int) -> dict[str, Any]:
    """Return the loss per token of sequences, with its error, and in bits per byte."""
    sums = [score.loss if score else 0.0 for score in scores]
    counts = [scored_tokens(sequence) for sequence in sequences]
    total = math.fsum(sums)
    return {
        **ratio_estimate(sums, counts),
        "unit": "nats/token",
        "bits_per_byte": total / math.log(2) / size if any(counts) and size else None,
        "bytes": size,
    }


def check_finite(spec: Mapping[str, Any], model: Any, scores: Mapping[str, Any]) -> None:
    """Raise StageError naming the loss that is no number, and the weight that makes it so."""
    for name, some in scores.items():
        if all(math.isfinite(score.loss) for score in some if score):
            continue
        damaged = (key for key, weight in model.named_parameters() if not weight.isfinite().all())
        weight = next(damaged, None)
        cause = f"its weight {weight} holds NaN or inf" if weight else "its weights are too large"
        raise StageError(
            f"{spec['model']}: the loss {name} is not a finite number: {cause}; make or fetch the "
            "model again, a tuned one with a lower training.learning_rate"
        )


def held_out(paths: Mapping[str, str], tokenizer: Any, length: int) -> Texts:
    """Return the windows over the texts of the spec."""
    return {
        f"text.{name}": text_sequences(project_path(path), tokenizer, length)
        for name, path in paths.items()
    }


def main(argv: list[str] | None = None) -> None:
    """Load the model, run it over everything, write the losses."""
    parser = stage_parser(__doc__, "model", "loss", "rows")
    parser.add_argument("--templated", type=Path, nargs="*", default=[])
    parser.add_argument("--adapter", type=Path)
    args = parser.parse_args(argv)
    spec, asked = args.spec, args.spec["memorisation"]
    import_models()
    model, tokenizer = load(args.model, args.adapter)
    limits = [spec.get("max_length"), getattr(model.config, "max_position_embeddings", None)]
    length = min([MAX_LENGTH, *(n for n in limits if n)])
    parts = held_out(spec["texts"], tokenizer, length)
    rows = {folder.name: sides(folder, asked["rows"]) for folder in args.templated}
    for folder, both in rows.items():
        for name, side in both.items():
            parts[f"{name}.{folder}"] = side.sequences, byte_count(side.sequences, tokenizer)
    done = Progress(sum(scored_tokens(s) for some, _ in parts.values() for s in some), "tokens")
    pad_id = tokenizer.pad_token_id or 0
    scores = {name: scores_of(model, part[0], pad_id, done) for name, part in parts.items()}
    check_finite(spec, model, scores)
    losses = {name: mean_loss(part[0], scores[name], part[1]) for name, part in parts.items()}
    result = {
        "model": spec["model"],
        "dtype": str(model.dtype).removeprefix("torch."),
        "max_length": length,
        "losses": losses,
        "recitation": {
            folder: recitation(both, {name: scores[f"{name}.{folder}"] for name in both}, asked)
            for folder, both in rows.items()
            if asked["rows"]
        },
    }
    write_loss_rows(args.rows, scores)
    write_json(args.loss, result)
    said = (f"{k} {v['value']:.3f}" for k, v in losses.items() if v["value"] is not None)
    console().say(f"{spec['model']}: loss per token (nats): {', '.join(said)}")


if __name__ == "__main__":
    run_stage(main)
