"""The memory estimate beside measured peaks: `python bench/memory.py`.

Trains random Qwen2 of three sizes for four steps, full and with LoRA, each in a process of its own,
with the trainer of this project on rows of one length. The peak is that of the process's resident
memory, less what it had after its imports and one step of a tiny model (which loads the code
that computes). --more adds gradient checkpointing, packed batches, accumulation and other methods.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "scripts"))

SIZES = {
    "5M": (256, 768, 6, 4, 2, 4096),
    "15M": (384, 1024, 9, 6, 2, 4096),
    "40M": (512, 1536, 12, 8, 4, 8192),
}
TINY = (32, 64, 2, 2, 1, 512)
KEYS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
KEYS += ("num_key_value_heads", "vocab_size")
ROWS, LENGTH, STEPS = 8, 256, 4
MIB = 2**20

CASES: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "lora": {"method": "lora"},
}
MORE: dict[str, dict[str, Any]] = {
    "lora, no dropout": {"method": "lora", "lora": {"lora_dropout": 0}},
    "lora, checkpointing": {"method": "lora", "training": {"gradient_checkpointing": True}},
    "full, checkpointing": {"method": "full", "training": {"gradient_checkpointing": True}},
    "full, 2 batches accumulated": {
        "method": "full",
        "training": {"gradient_accumulation_steps": 2},
    },
    "lora, packed": {"method": "lora", "training": {"batching": "packed"}},
    "full, padded rows": {"method": "full", "ragged": True},
    "bitfit": {"method": "bitfit"},
    "last 2 layers": {"method": "last_n_layers"},
    "ia3": {"method": "ia3"},
    "adalora": {"method": "adalora"},
}


def configured(case: dict[str, Any]) -> dict[str, Any]:
    """Return a run with every default, as a config would give it."""
    from sftflow.config import fill_defaults, schema

    training = {"gradient_accumulation_steps": 1, "learning_rate": 1e-4}
    training |= {"per_device_train_batch_size": ROWS, **case.get("training", {})}
    run = {"method": case["method"], "lora": case.get("lora", {}), "training": training}
    run |= {"max_length": LENGTH}
    return fill_defaults(run, {"properties": schema()["$defs"]["run"]["properties"]})


def trained(sizes: tuple[int, ...], run: dict[str, Any], ragged: bool, steps: int) -> Any:
    """Train a random model on random rows, as the stage train_adapter does; return the trainer."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    from sftflow.adapting import prepare
    from sftflow.packing import packed_rows
    from sftflow.trainer import MaskedTrainer, score_trained_positions_only
    from sftflow.training import Schedule, trainer_settings

    shape = dict(zip(KEYS, sizes, strict=True))
    known = {f"t{i}": i for i in range(shape["vocab_size"])}
    special = {"pad_token": "t0", "eos_token": "t1"}
    words = Tokenizer(models.WordLevel(known))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
    torch.manual_seed(0)
    score_trained_positions_only()
    model = Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=True))
    adapter = prepare(model, run, "random", 100, "")
    packed = run["training"]["batching"] == "packed"
    lengths = [LENGTH - (8 * (i % ROWS) if ragged else 0) for i in range(ROWS * 8)]
    draws = [torch.randint(2, shape["vocab_size"], (n,)).tolist() for n in lengths]
    rows = [{"input_ids": ids, "labels": ids, "length": len(ids)} for ids in draws]
    with tempfile.TemporaryDirectory() as folder:
        plan = Schedule(steps, steps, steps, steps + 1, 0, 1)
        settings = trainer_settings(run["training"], plan, Path(folder), "float32", False)
        settings.save_strategy = "no"
        trainer = MaskedTrainer(
            model=model,
            args=settings,
            data_collator=packed_rows(model, tokenizer, "random") if packed else None,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=adapter,
        )
        trainer.kept_order = "as_is"
        trainer.batching = run["training"]["batching"]
        trainer.train()
    return trainer


def measure(asked: dict[str, Any]) -> dict[str, int]:
    """Return what a training took at its peak, and the estimate (bytes)."""
    from sftflow.memoryestimate import estimated
    from sftflow.modelshape import made_config, shape_of
    from sftflow.peakmemory import Peak

    run, sizes = configured(asked), SIZES[asked["size"]]
    trained(TINY, run, False, 1)
    peak = Peak()
    trained(sizes, run, asked.get("ragged", False), STEPS)
    shape = shape_of(made_config(dict(zip(KEYS, sizes, strict=True))))
    estimate = estimated(shape, run, "float32", "cpu", padded=asked.get("ragged", False))
    return {"peak": peak.bytes(), "estimate": estimate.told()}


def main() -> None:
    """Measure each case in its own process and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--more", action="store_true", help="more cases, on 15M")
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        sys.stdout.write(json.dumps(measure(args.one)))
        return
    cases = [(size, name, case) for size in SIZES for name, case in CASES.items()]
    cases += [("15M", name, case) for name, case in MORE.items()] if args.more else []
    say("| model | training | measured MiB | estimate MiB | estimate / measured |")
    say("|---|---|---|---|---|")
    for size, name, case in cases:
        if args.only is not None and name not in args.only:
            continue
        line = [sys.executable, __file__, "--one", json.dumps({**case, "size": size})]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        found = json.loads(done.stdout.splitlines()[-1])
        peak, estimate = found["peak"] / MIB, found["estimate"]["peak"] / MIB
        say(f"| {size} | {name} | {peak:.0f} | {estimate:.0f} | {estimate / peak:.2f} |")


def say(text: str) -> None:
    """Show a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
