"""How fast a training is, beside TRL's own command: `python bench/training.py --rows 4000`.

Makes a random Qwen2 of 15 million parameters with a tokenizer as prepare_base makes it, rows of
log-normal length (20 to 400 tokens), and their tokens by the stage template_data. Then trains the
same LoRA (r 16, all linear layers, 16 rows a step, no evaluation) on them, each from process start
to adapter on disk: the stage train_adapter with padded, grouped and packed batches, and `trl sft`,
padded and with its own packing, on the same tokens and labels. --llamafactory names a Python that
has LLaMA-Factory, which trains with neat_packing on the same conversations.

Printed for each: seconds, processor seconds, peak memory, real tokens (no padding) per second and
per processor second, and how that stands to padded TRL. On a machine that has other work, the
processor seconds say more.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REPO = Path(__file__).parents[1]
sys.path.insert(0, str(REPO / "scripts"))

SHORTEST, LONGEST, MAX_LENGTH = 20, 400, 512  # tokens of a row
MEDIAN, SIGMA = 90, 0.75  # of the log-normal lengths
BATCH, ACCUMULATION, RATE, RANK, ALPHA = 8, 2, 2e-4, 16, 32
SHAPE = {
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 9,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
VOCABULARY = 4096


def say(text: str) -> None:
    """Show a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def write_model(folder: Path) -> Any:
    """Write tokenizer, chat template and random weights; return the tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from sftflow.manifests import write_manifest
    from sftflow.modelfolders import write_start_sums
    from sftflow.modeltokenizers import load_tokenizer
    from sftflow.pretraining import bpe_tokenizer, save_tokenizer
    from sftflow.toytext import documents

    folder.mkdir(parents=True)
    texts = (text for _, text in zip(range(4000), documents(0, plain=True), strict=False))
    save_tokenizer(bpe_tokenizer(texts, VOCABULARY), folder, SHAPE["max_position_embeddings"])
    shutil.copyfile(REPO / "config/templates/chatml.jinja", folder / "chat_template.jinja")
    tokenizer = load_tokenizer(folder)
    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id}
    config = Qwen2Config(
        **SHAPE, **ids, vocab_size=len(tokenizer), pad_token_id=0, tie_word_embeddings=True
    )
    model = Qwen2ForCausalLM(config)
    say(f"{model.num_parameters() / 1e6:.1f} million parameters, {len(tokenizer)} tokens")
    model.save_pretrained(folder)
    payloads = [path for path in folder.iterdir() if path.is_file()]
    write_manifest(folder / "manifest.json", stage="prepare_base", spec={}, payloads=payloads)
    write_start_sums(folder)
    return tokenizer


def conversations(tokenizer: Any, count: int) -> list[list[dict[str, str]]]:
    """Return question and answer of log-normal length together, about half of it each."""
    from sftflow.toytext import documents

    draw = np.random.default_rng(0)
    lengths = np.exp(draw.normal(np.log(MEDIAN), SIGMA, count)).clip(SHORTEST, LONGEST)
    stream = tokenizer(
        " ".join(text for _, text in zip(range(3000), documents(1, plain=True), strict=False))
    )
    ids, at, found = stream["input_ids"], 0, []
    for length in lengths.astype(int):
        body = max(4, length - 12)  # the template takes 12
        if at + body > len(ids):
            at = 0
        half = at + int(body * draw.uniform(0.3, 0.7))
        parts = tokenizer.decode(ids[at:half]), tokenizer.decode(ids[half : at + body])
        roles = ("user", "assistant")
        found.append([{"role": r, "content": p} for r, p in zip(roles, parts, strict=True)])
        at += body
    return found


def stage(name: str, spec: dict[str, Any], **paths: Path) -> list[str]:
    """Return the command line of a stage."""
    line = [sys.executable, str(REPO / "scripts" / f"{name}.py"), "--spec", json.dumps(spec)]
    for key, path in paths.items():
        line += [f"--{key}", str(path)]
    return line


def write_tokens(work: Path, talks: list[list[dict[str, str]]]) -> None:
    """Write the dataset and, by the real stage, its tokens and labels."""
    from sftflow.manifests import write_manifest
    from sftflow.records import RECORD, content_id, message, write_table

    def records(some: list) -> Any:
        for row, talk in enumerate(some):
            messages = [message(turn["role"], turn["content"]) for turn in talk]
            record = {"source": "bench", "row": row + 1, "messages": messages, "tools": None}
            yield {"id": content_id(record), **record}

    dataset, tokens = work / "dataset", work / "tokens"
    for split, some in (("train", talks), ("validation", []), ("test", [])):
        write_table(dataset / f"{split}.parquet", records(some), RECORD)
    payloads = sorted(dataset.glob("*.parquet"))
    write_manifest(dataset / "manifest.json", stage="split_dataset", spec={}, payloads=payloads)
    spec = {"dataset": "bench", "base": "model", "max_length": MAX_LENGTH}
    spec |= {"overlong": "drop", "train_on": "all"}
    names = ("train.parquet", "validation.parquet", "manifest.json", "preview.html")
    paths = {name.split(".")[0]: tokens / name for name in names}
    places = {"dataset": dataset, "model": work / "model", "log": work / "tokens.log"}
    subprocess.run(stage("template_data", spec, **places, **paths), check=True)


def ours(work: Path, batching: str) -> list[str]:
    """Return the command of this project's stage."""
    from sftflow.configschema import fill_defaults, schema
    from sftflow.plan import shaping_settings

    training = {"batching": batching, "learning_rate": RATE, "num_train_epochs": 1}
    training |= {"per_device_train_batch_size": BATCH, "gradient_accumulation_steps": ACCUMULATION}
    lora = {"r": RANK, "lora_alpha": ALPHA}
    run = {"training": training, "lora": lora, "method": "lora"}
    node = {"properties": schema()["$defs"]["run"]["properties"]}
    filled = fill_defaults(run, node)
    spec = {"run": batching, **{k: filled[k] for k in ("method", "launch", "lora")}}
    spec["training"] = shaping_settings(filled["training"])
    folder = work / batching
    names = ("adapter", "samples", "checkpoints")
    files = {"history": folder / "history.csv", "manifest": folder / "manifest.json"}
    places = {"templated": work / "tokens", "model": work / "model", "log": folder / "log"}
    return stage("train_adapter", spec, **places, **files, **{n: folder / n for n in names})


def trl(work: Path, packing: bool) -> list[str]:
    """Return TRL's command, with the settings of ours."""
    options = {
        "model_name_or_path": work / "model",
        "dataset_name": work / "rows",
        "output_dir": work / f"trl-{packing}",
        "use_peft": True,
        "lora_r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.05,
        "lora_target_modules": "all-linear",
        "learning_rate": RATE,
        "lr_scheduler_type": "cosine",
        "weight_decay": 0.01,
        "num_train_epochs": 1,
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATION,
        "max_length": MAX_LENGTH,
        "packing": packing,
        "gradient_checkpointing": False,
        "bf16": False,
        "dtype": "float32",
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
    }
    if packing:  # a row is a window of several there; this many windows hold 16 rows
        tokens, rows = token_count(work)
        windows = max(1, round(BATCH * ACCUMULATION * tokens / rows / MAX_LENGTH))
        options |= {"per_device_train_batch_size": windows, "gradient_accumulation_steps": 1}
    line = [str(Path(sys.executable).parent / "trl"), "sft"]
    for key, value in options.items():
        line += [f"--{key}", str(value)]
    return line


def llamafactory(work: Path, python: str, talks: list[list[dict[str, str]]]) -> list[str]:
    """Return LLaMA-Factory's command, with neat_packing and the settings of ours."""
    folder = work / "llamafactory"
    folder.mkdir()
    (folder / "rows.json").write_text(json.dumps([{"messages": talk} for talk in talks]))
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {"user_tag": "user", "assistant_tag": "assistant"}
    entry = {"file_name": "rows.json", "formatting": "sharegpt"}
    entry |= {"columns": {"messages": "messages"}, "tags": tags}
    (folder / "dataset_info.json").write_text(json.dumps({"bench": entry}))
    tokens, rows = token_count(work)
    windows = max(1, round(BATCH * ACCUMULATION * tokens / rows / MAX_LENGTH))
    settings = {
        "model_name_or_path": str(work / "model"),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "lora_target": "all",
        "lora_rank": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.05,
        "dataset": "bench",
        "dataset_dir": str(folder),
        "template": "qwen",
        "cutoff_len": MAX_LENGTH,
        "packing": True,
        "neat_packing": True,
        "output_dir": str(folder / "adapter"),
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": windows,
        "learning_rate": RATE,
        "num_train_epochs": 1,
        "lr_scheduler_type": "cosine",
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
    }
    (folder / "train.yaml").write_text(json.dumps(settings))  # JSON is YAML
    start = "from llamafactory.cli import main; main()"
    return [python, "-c", start, "train", str(folder / "train.yaml")]


def token_count(work: Path) -> tuple[int, int]:
    """Return tokens and rows of the training."""
    import pyarrow.parquet as pq

    lengths = pq.read_table(work / "tokens/train.parquet").column("length").to_numpy()
    return int(lengths.sum()), len(lengths)


def shares(work: Path) -> str:
    """Say what part of the computed tokens are real in each kind of batches."""
    import pyarrow.parquet as pq

    from sftflow.roworder import computed_tokens, row_sampler

    lengths = pq.read_table(work / "tokens/train.parquet").column("length").to_pylist()
    step, said = BATCH * ACCUMULATION, []
    for batching in ("padded", "grouped", "packed"):
        sampler, packed = row_sampler(lengths, batching, step, BATCH, 0), batching == "packed"
        steps = -(-len(lengths) // step)
        real, computed = computed_tokens(sampler, lengths, step, BATCH, steps, packed)
        said.append(f"{batching} {real / computed:.1%}")
    return ", ".join(said)


def timed(line: list[str], log: Path) -> tuple[float, float, float]:
    """Return seconds, processor seconds and peak memory (MB) of a command that must succeed."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    # TRL's launcher would give a process one thread.
    environment |= {"DO_NOT_TRACK": "1", "OMP_NUM_THREADS": str(os.cpu_count())}
    if "train_adapter" in line[1]:  # as the workflow starts it; others as their users do
        environment.setdefault("GOMP_SPINCOUNT", "10000")
    start = time.monotonic()
    with log.open("w") as said:
        child = subprocess.Popen(line, stdout=said, stderr=said, env=environment)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{shlex.join(line)}\n{log.read_text()[-3000:]}")
    wall_s = time.monotonic() - start
    return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Make everything, time each way of training, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--only", nargs="*", help="names of ways, as in the table")
    parser.add_argument("--llamafactory", metavar="PYTHON", help="a Python that has it")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-training-") as temporary:
        work = args.keep or Path(temporary)
        work.mkdir(exist_ok=True)
        tokenizer = write_model(work / "model")
        talks = conversations(tokenizer, args.rows)
        write_tokens(work, talks)
        write_rows(work)
        tokens, rows = token_count(work)
        say(f"{rows} rows, {tokens} tokens, one epoch of {BATCH} x {ACCUMULATION} rows a step")
        say(f"real tokens of those computed: {shares(work)}")
        ways = {
            "trl padded": lambda: trl(work, packing=False),
            "trl packing (bfd)": lambda: trl(work, packing=True),
            **{name: lambda n=name: ours(work, n) for name in ("padded", "grouped", "packed")},
        }
        if args.llamafactory:
            ways["neat_packing"] = lambda: llamafactory(work, args.llamafactory, talks)
        say("| way | s | processor s | MB | tokens/s | tokens/processor s | to padded TRL |")
        say("|---|---|---|---|---|---|---|")
        first = None
        for name in ways if args.only is None else args.only:
            wall_s, busy_s, peak_mb = timed(ways[name](), work / "said.txt")
            first = first or busy_s
            say(
                f"| {name} | {wall_s:.1f} | {busy_s:.1f} | {peak_mb:.0f} | {tokens / wall_s:.0f} | "
                f"{tokens / busy_s:.0f} | {first / busy_s:.2f} |",
            )


def write_rows(work: Path) -> None:
    """Write tokens and labels where TRL looks for a dataset."""
    import pyarrow.parquet as pq

    table = pq.read_table(work / "tokens/train.parquet", columns=["input_ids", "labels"])
    (work / "rows").mkdir()
    pq.write_table(table, work / "rows/train.parquet")


if __name__ == "__main__":
    main()
