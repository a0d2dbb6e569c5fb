"""The memory estimate beside measured peaks: `python bench/memory.py`.

Trains random Qwen2 of three sizes for four steps, full and with LoRA, each in a process of its own,
with the trainers of this project on rows of one length. The peak is that of the process's resident
memory, less what it had after its imports and one step of a tiny model (which loads the code
that computes). --more adds gradient checkpointing, packed batches, accumulation, other methods,
preference pairs and a mixture of experts (Qwen3-MoE with 8 of half the width, 2 chosen).
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
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2}
PLAIN = {"lora_dropout": 0}  # experts take no other
PAIRS = {"dpo": {}, "training": {"per_device_train_batch_size": ROWS // 2}}
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
    "dpo, lora": {"method": "lora", **PAIRS},
    "dpo, full": {"method": "full", **PAIRS},
    "experts, full": {"method": "full", "experts": True},
    "experts, lora": {"method": "lora", "lora": PLAIN, "experts": True},
    "experts, lora, checkpointing": {
        "method": "lora",
        "lora": PLAIN,
        "experts": True,
        "training": {"gradient_checkpointing": True},
    },
}


def configured(case: dict[str, Any]) -> dict[str, Any]:
    """Return a run with every default, as a config would give it."""
    from sftflow.configschema import fill_defaults, schema

    training = {"gradient_accumulation_steps": 1, "learning_rate": 1e-4}
    training |= {"per_device_train_batch_size": ROWS, **case.get("training", {})}
    run = {"method": case["method"], "lora": case.get("lora", {}), "training": training}
    run |= {"max_length": LENGTH}
    filled = fill_defaults(run, {"properties": schema()["$defs"]["run"]["properties"]})
    filled["dpo"] = fill_defaults({}, schema()["$defs"]["dpo"]) if "dpo" in case else None
    return filled


def shaped(sizes: tuple[int, ...], experts: bool) -> Any:
    """Return transformers' config of a model of these sizes."""
    from transformers import Qwen2Config, Qwen3MoeConfig

    shape = dict(zip(KEYS, sizes, strict=True)) | {"tie_word_embeddings": True}
    if not experts:
        return Qwen2Config(**shape)
    one = {"moe_intermediate_size": shape["intermediate_size"] // 2}
    one |= {"head_dim": shape["hidden_size"] // shape["num_attention_heads"]}
    return Qwen3MoeConfig(**shape, **EXPERTS, **one)


def drawn(vocabulary: int, ragged: bool) -> list[list[int]]:
    """Return rows of random tokens."""
    import torch

    lengths = [LENGTH - (8 * (i % ROWS) if ragged else 0) for i in range(ROWS * 8)]
    return [torch.randint(2, vocabulary, (n,)).tolist() for n in lengths]


def trainer_of(config: Any, run: dict[str, Any], ragged: bool, plan: Any, folder: Path) -> Any:
    """Return this project's trainer of a random model on random rows."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

    from sftflow.adapting import prepare
    from sftflow.methods import METHODS
    from sftflow.packing import packed_rows
    from sftflow.preferencetrainer import PairCollator, PreferenceTrainer, preference_settings
    from sftflow.trainer import MaskedTrainer, score_trained_positions_only
    from sftflow.training import trainer_settings

    known = {f"t{i}": i for i in range(config.vocab_size)}
    words = Tokenizer(models.WordLevel(known))
    special = {"pad_token": "t0", "eos_token": "t1"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)
    torch.manual_seed(0)
    score_trained_positions_only()
    model = AutoModelForCausalLM.from_config(config)
    training, rows = run["training"], drawn(config.vocab_size, ragged)
    parts = {"model": model, "processing_class": tokenizer}
    parts["peft_config"] = prepare(model, run, "random", 100, "")
    if run["dpo"]:
        pairs = [{"input_ids": ids, "rejected_ids": ids[1:], "answer_start": 1} for ids in rows]
        pairs = [{**pair, "length": len(pair["input_ids"])} for pair in pairs]
        plain = METHODS[run["method"]].plain
        return PreferenceTrainer(
            **parts,
            args=preference_settings(training, run["dpo"], plan, folder, "float32", False),
            data_collator=PairCollator(0),
            ref_model=AutoModelForCausalLM.from_config(config) if plain else None,
            train_dataset=Dataset.from_list(pairs),
        )
    packed = training["batching"] == "packed"
    labelled = [{"input_ids": ids, "labels": ids, "length": len(ids)} for ids in rows]
    return MaskedTrainer(
        **parts,
        args=trainer_settings(training, plan, folder, "float32", False),
        data_collator=packed_rows(model, tokenizer, "random") if packed else None,
        train_dataset=Dataset.from_list(labelled),
    )


def train(config: Any, run: dict[str, Any], ragged: bool, steps: int) -> None:
    """Train a random model on random rows, as the stages do."""
    from sftflow.training import Schedule

    with tempfile.TemporaryDirectory() as folder:
        plan = Schedule(steps, steps, steps, steps + 1, 0, 1)
        trainer = trainer_of(config, run, ragged, plan, Path(folder))
        trainer.args.save_strategy = "no"
        trainer.kept_order = "as_is"
        trainer.batching = run["training"]["batching"]
        trainer.train()


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a training took at its peak, and the estimate (bytes)."""
    from sftflow.memoryestimate import estimated
    from sftflow.modelshape import shape_of
    from sftflow.peakmemory import Peak

    run, ragged, experts = configured(asked), asked.get("ragged", False), asked.get("experts")
    config = shaped(SIZES[asked["size"]], experts)
    train(shaped(TINY, experts), run, False, 1)
    peak = Peak()
    train(config, run, ragged, STEPS)
    estimate = estimated(shape_of(config.to_dict()), run, "float32", "cpu", padded=ragged)
    return {"peak": peak.bytes(), "estimate": estimate.told()}


def main() -> None:
    """Measure each case in its own process and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--more", action="store_true", help="more cases")
    parser.add_argument("--only", nargs="*", help="names of cases")
    parser.add_argument("--size", choices=SIZES, default="15M", help="of the cases of --more")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        sys.stdout.write(json.dumps(measure(args.one)))
        return
    cases = [(size, name, case) for size in SIZES for name, case in CASES.items()]
    cases += [(args.size, name, case) for name, case in MORE.items()] if args.more else []
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
