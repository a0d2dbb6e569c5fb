"""The same training by TRL alone: its rendering, masks, collator and loop, our order of rows."""

from __future__ import annotations

import math

import pyarrow.parquet as pq

from sftflow.roworder import row_sampler

MODEL = "results/models/tiny"
SAME = ("per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs")
SAME += ("learning_rate", "lr_scheduler_type", "weight_decay", "max_grad_norm", "seed")


def rows_of(path):
    return pq.read_table(path).to_pylist()


def plain(turn):
    return {"role": turn["role"], "content": turn["content"]}


def settings(training, steps):
    """Return what TRL is told, as its users would: the rest is its defaults."""
    return {
        **{key: training[key] for key in SAME},
        "output_dir": "results/plain-trl",
        "warmup_steps": math.ceil(steps * training["warmup_ratio"]),
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "max_length": None,
    }


def adapter(lora):
    from peft import LoraConfig

    same = ("r", "lora_alpha", "lora_dropout", "target_modules")
    return LoraConfig(task_type="CAUSAL_LM", **{key: lora[key] for key in same})


def ordered(kind, lengths, training):
    """Return a class of TRL's trainer that takes rows in the order of a run."""

    class Ordered(kind):
        def _get_train_sampler(self, _dataset=None):
            batch = training["per_device_train_batch_size"]
            group = batch * training["gradient_accumulation_steps"]
            return row_sampler(lengths, training["batching"], group, batch, training["seed"])

    return Ordered


def trained(trainer):
    """Train; return loss, learning rate and gradient norm of each step, and the adapter."""
    trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    weights = trainer.model.state_dict().items()
    return log, {name.replace(".default", ""): w for name, w in weights if "lora_" in name}


def supervised(spec, templated, dataset, steps):
    """Train on conversations with loss on assistants' turns; return trained() and the rows."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    known = {row["id"]: row["messages"] for row in rows_of(dataset)}
    rows = rows_of(templated)
    talks = [{"messages": [plain(turn) for turn in known[row["id"]]]} for row in rows]
    training = spec["training"]
    # An evaluation draws a random number: without it, dropout would have others after it.
    evaluated = {"eval_strategy": "steps", "eval_steps": training["eval_steps"]}
    trainer = ordered(SFTTrainer, [row["length"] for row in rows], training)(
        model=AutoModelForCausalLM.from_pretrained(MODEL),
        args=SFTConfig(**settings(training, steps), **evaluated, assistant_only_loss=True),
        train_dataset=Dataset.from_list(talks),
        eval_dataset=Dataset.from_list(talks[:1]),
        processing_class=AutoTokenizer.from_pretrained(MODEL),
        peft_config=adapter(spec["lora"]),
    )
    same = [
        (row["input_ids"], row["labels"]) == (seen["input_ids"], seen["labels"])
        for row, seen in zip(rows, trainer.train_dataset, strict=True)
    ]
    return *trained(trainer), same


def preferring(spec, templated, steps):
    """Train on pairs, on our tokens: TRL's have the line break behind the last end of turn too."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    rows, training = rows_of(templated), spec["training"]
    lengths = [max(r["length"], r["answer_start"] + len(r["rejected_ids"])) for r in rows]
    trainer = ordered(DPOTrainer, lengths, training)(
        model=AutoModelForCausalLM.from_pretrained(MODEL),
        args=DPOConfig(**settings(training, steps), beta=spec["dpo"]["beta"]),
        train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
        processing_class=AutoTokenizer.from_pretrained(MODEL),
        peft_config=adapter(spec["lora"]),
    )
    tokens = [
        {
            "prompt_ids": row["input_ids"][: row["answer_start"]],
            "chosen_ids": row["input_ids"][row["answer_start"] :],
            "rejected_ids": row["rejected_ids"],
        }
        for row in rows
    ]
    trainer.train_dataset = Dataset.from_list(tokens)
    return trained(trainer)
