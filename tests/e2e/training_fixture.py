"""A dataset and a base of 100,000 parameters: enough to run the real training stages on."""

import json
import os
import random
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

from warmstart import Stage

from sftflow.folders import START_SUMS
from sftflow.manifests import write_manifest
from sftflow.modelfolders import write_start_sums
from sftflow.records import RECORD, content_id, message, write_table

REPOSITORY = Path(__file__).parents[2]
CHATML = (REPOSITORY / "config" / "templates" / "chatml.jinja").read_text(encoding="utf-8")
TEMPLATED = "results/templated/toy"
TEMPLATE_SPEC = {
    "dataset": "toy",
    "base": "tiny",
    "max_length": 256,
    "overlong": "drop",
    "train_on": "all",
}
SPEC = {
    "run": "r",
    "method": "lora",
    "lora": {
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.1,
        "target_modules": "all-linear",
        "use_rslora": False,
        "use_dora": False,
        "init": "default",
        "lr_ratio": None,
    },
    "training": {
        "learning_rate": 3e-3,
        "num_train_epochs": 3,
        "max_steps": None,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "batching": "grouped",
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "seed": 0,
        "eval_steps": 6,
        "save_steps": 3,
        "dtype": "auto",
        "gradient_checkpointing": False,
        "load_best_model_at_end": True,
        "neftune_noise_alpha": None,
        "layerwise_lr_decay": None,
        "early_stopping_patience": None,
        "ewc": None,
        "average_checkpoints": None,
    },
    "launch": {"num_processes": 1, "strategy": "ddp"},
}


def records(count, seed, weight=None):
    """Yield conversations; every second answer has the ``weight``, if one is given."""
    draw = random.Random(seed)
    verbs = {"is broken": "repair", "was charged twice": "billing", "never came": "delivery"}
    for row in range(1, count + 1):
        verb, thing = draw.choice(list(verbs)), draw.choice(["phone", "lamp", "router"])
        talk = [
            message(
                "user",
                f"My {thing} {verb}, order {draw.randrange(10**5)}. " + "Please. " * (row % 5),
            ),
            message(
                "assistant",
                json.dumps({"intent": verbs[verb], "product": thing}),
                weight=None if row % 2 else weight,
            ),
        ]
        record = {"source": "toy", "row": row, "messages": talk, "tools": None}
        yield {"id": content_id(record), **record}


@contextmanager
def in_process(folder):
    """Let stages run in this process: ``folder`` is current, all else is put back at the end."""
    import torch

    from sftflow import runtrainer

    shown, before = runtrainer.SHOWN_ANSWERS, Path.cwd()
    threads, environment = torch.get_num_threads(), dict(os.environ)
    runtrainer.SHOWN_ANSWERS = 1  # answers take time
    os.chdir(folder)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        runtrainer.SHOWN_ANSWERS = shown
        os.chdir(before)
        torch.set_num_threads(threads)
        os.environ.clear()
        os.environ.update(environment)


def write_dataset(folder, validation=16, train=96, weight=None):
    for split, count in (("train", train), ("validation", validation), ("test", 8)):
        write_table(folder / f"{split}.parquet", records(count, split, weight), RECORD)
    payloads = sorted(folder.glob("*.parquet"))
    write_manifest(folder / "manifest.json", stage="split_dataset", spec={}, payloads=payloads)


def write_base(folder, seed=0):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

    tokenizer = Qwen2Tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    texts = (m["content"] for r in records(64, "tokenizer") for m in r["messages"])
    made = tokenizer.train_new_from_iterator(texts, 400, new_special_tokens=["<|im_start|>"])
    made.chat_template = CHATML
    made.save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(made),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=made.eos_token_id,
        pad_token_id=made.pad_token_id,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    vouch(folder)


def vouch(folder):
    """Write the folder's sums again, as prepare_base does."""
    books = ("manifest.json", "SHA256SUMS", START_SUMS)
    payloads = [path for path in folder.iterdir() if path.name not in books]
    write_manifest(folder / "manifest.json", stage="prepare_base", spec={}, payloads=payloads)
    write_start_sums(folder)


def command(stage, spec, **paths):
    line = [sys.executable, str(REPOSITORY / "scripts" / f"{stage}.py"), "--spec", json.dumps(spec)]
    for name, path in paths.items():
        line += [f"--{name}", str(path)]
    return line


def start(folder, line):
    return Stage(line, folder)


def finish(stage, code=0):
    assert stage.wait(300) == code, stage.said()
    return stage.said()


def templating():
    return command(
        "template_data",
        TEMPLATE_SPEC,
        log=f"{TEMPLATED}.log",
        dataset="results/datasets/toy",
        model="results/models/tiny",
        train=f"{TEMPLATED}/train.parquet",
        validation=f"{TEMPLATED}/validation.parquet",
        manifest=f"{TEMPLATED}/manifest.json",
        preview=f"{TEMPLATED}/preview.html",
    )


def template(folder):
    finish(start(folder, templating()))


def changed(spec, **values):
    """Return a copy of ``spec``; ``training.seed`` is said as ``training__seed``."""
    spec = json.loads(json.dumps(spec))
    for key, value in values.items():
        *path, last = key.split("__")
        place = spec
        for part in path:
            place = place[part]
        place[last] = value
    return spec


def training(spec, model="results/models/tiny"):
    run = f"results/runs/{spec['run']}"
    return command(
        "train_adapter",
        spec,
        log=f"{run}.log",
        templated=TEMPLATED,
        model=model,
        adapter=f"{run}/adapter",
        history=f"{run}/history.csv",
        samples=f"{run}/samples",
        checkpoints=f"{run}/checkpoints",
        manifest=f"{run}/manifest.json",
    )


def train(folder, code=0, model="results/models/tiny", **values):
    return finish(start(folder, training(changed(SPEC, **values), model)), code)


def merging(run, method="lora", dtype="auto", base="tiny", name=None):
    model = f"results/models/{name or run}"
    return command(
        "merge_adapter",
        {"run": run, "method": method, "dtype": dtype},
        log=f"{model}.log",
        run=f"results/runs/{run}",
        base=f"results/models/{base}",
        templated=TEMPLATED,
        model=model,
        manifest=f"{model}/manifest.json",
    )


def sums(folder, run):
    """Return what a run vouches for: the digests of adapter, history and samples."""
    return (folder / "results/runs" / run / "SHA256SUMS").read_text()


def kill_at_checkpoint(folder, spec, step, number=signal.SIGKILL):
    """Start a training and end it once the checkpoint of ``step`` is complete."""
    process = start(folder, training(spec))
    pattern = f"results/runs/{spec['run']}/checkpoints/*/checkpoint-{step}/COMPLETE.json"
    while process.poll() is None and not list(folder.glob(pattern)):
        pass
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(number)
    process.wait(60)
    return process


def steps_of_history(folder, run):
    lines = (folder / "results/runs" / run / "history.csv").read_text().splitlines()[1:]
    return [int(re.match(r"\d+", line).group()) for line in lines]
