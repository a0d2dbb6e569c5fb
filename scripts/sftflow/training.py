"""What a training is told: precision, steps, trainer settings, start model."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftflow.methods import METHODS
from sftflow.remotecode import may_run_code
from sftflow.stage import StageError

logger = logging.getLogger("sftflow")

MOST_LOGGED_STEPS = 500  # rows of history.csv; each costs a synchronisation with the device


@dataclass(frozen=True)
class Schedule:
    """How many steps a training has, and after how many of them something happens."""

    steps_per_epoch: int
    steps: int
    eval_steps: int
    save_steps: int
    warmup_steps: int
    logging_steps: int


def schedule(training: Mapping[str, Any], rows: int, num_processes: int = 1) -> Schedule:
    """Return the steps for ``rows`` samples, counted as transformers' Trainer counts them."""
    batches = math.ceil(rows / (training["per_device_train_batch_size"] * num_processes))
    per_epoch = math.ceil(batches / training["gradient_accumulation_steps"])
    steps = training.get("max_steps") or math.ceil(per_epoch * training["num_train_epochs"])
    eval_steps = min(training.get("eval_steps") or per_epoch, steps)
    return Schedule(
        steps_per_epoch=per_epoch,
        steps=steps,
        eval_steps=eval_steps,
        save_steps=min(training.get("save_steps") or eval_steps, steps),
        warmup_steps=math.ceil(steps * training["warmup_ratio"]),
        logging_steps=math.ceil(steps / MOST_LOGGED_STEPS),
    )


def computing_dtype(wanted: str) -> str:
    """Return float32, bfloat16 or float16; ``auto`` is bfloat16 on a GPU that has it.

    A CPU computes bfloat16 in software or at no gain for small models, so auto means
    float32 there. Raises StageError for a precision that the device hasn't got.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    has_bfloat16 = has_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if wanted == "auto":
        return "bfloat16" if has_bfloat16 else "float32"
    if wanted == "bfloat16" and has_gpu and not has_bfloat16:
        raise StageError("this GPU has no bfloat16; set training.dtype to float16 or float32")
    if wanted == "float16" and not has_gpu:
        raise StageError("float16 training needs a GPU; set training.dtype to auto or float32")
    return wanted


def require_bitsandbytes(asking: str, instead: str) -> None:
    """Raise StageError unless bitsandbytes runs here; a setting asks for it, another would not."""
    import importlib.util

    import torch

    if importlib.util.find_spec("bitsandbytes") is None:
        raise StageError(
            f"{asking} needs bitsandbytes, which is not installed; install the GPU environment "
            f"or use {instead}"
        )
    if not torch.cuda.is_available():
        raise StageError(f"{asking} needs a CUDA GPU and there is none; use {instead}")


def start_model(folder: Path, method: str, dtype: str):
    """Load the start model; raise StageError if any weight would be made up.

    An adapter's frozen weights are held in ``dtype``; where the model's own weights are trained
    they are float32 and computed in ``dtype`` (autocast), or small updates would be rounded away.
    """
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {}
    if method == "qlora":
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, dtype),
        )
        options["device_map"] = {"": torch.cuda.current_device()}
    model, info = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32 if METHODS[method].plain else getattr(torch, dtype),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=may_run_code(folder),
        output_loading_info=True,
        **options,
    )
    missing = sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"]))
    if missing:
        raise StageError(
            f"{folder} lacks {missing[0]}" + (f" and {len(missing) - 1} more" * (len(missing) > 1))
        )
    return model


def trainer_settings(
    training: Mapping[str, Any], plan: Schedule, folder: Path, dtype: str, evaluates: bool
):
    """Return TRL's SFTConfig: everything that has a default elsewhere is said here."""
    from trl import SFTConfig

    return SFTConfig(
        **shared_settings(training, plan, folder, dtype, evaluates),
        neftune_noise_alpha=training["neftune_noise_alpha"],
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},  # labels are ours, nothing to prepare
    )


def shared_settings(
    training: Mapping[str, Any], plan: Schedule, folder: Path, dtype: str, evaluates: bool
) -> dict[str, Any]:
    """Return the settings that TRL's trainers have in common."""
    import torch

    checkpointing, packed = training["gradient_checkpointing"], training["batching"] == "packed"
    same = ("learning_rate", "lr_scheduler_type", "weight_decay", "max_grad_norm", "seed")
    same += ("per_device_train_batch_size", "gradient_accumulation_steps")
    same += ("optim",) if "optim" in training else ()  # AdamW, fused, is TRL's as well as ours
    return dict(
        output_dir=str(folder),
        max_steps=plan.steps,
        warmup_steps=plan.warmup_steps,
        **{key: training[key] for key in same},
        data_seed=training["seed"],
        per_device_eval_batch_size=training["per_device_train_batch_size"],
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16",
        gradient_checkpointing=checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if checkpointing else None,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=plan.eval_steps,
        save_strategy="steps",
        save_steps=plan.save_steps,
        save_total_limit=None,  # pruned by this project, after the new one is sealed
        metric_for_best_model="eval_loss" if evaluates else None,
        greater_is_better=False if evaluates else None,
        logging_strategy="steps",
        logging_steps=plan.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # it would show the last good loss instead of NaN
        # packed rows have no padding, and a row may hold the padding token
        include_num_input_tokens_seen="all" if packed else "non_padding",
        max_length=None,
        dataloader_num_workers=0,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
    )
