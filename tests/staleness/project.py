"""A copy of the repository with a small real project in it, and what each run of it did."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from staleness.warm import Warm

REPO = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "scripts", "profiles", "envs", "config")
# A job that runs, alone or in a group; its wildcards stand some lines below.
TARGETS = ("all", "data", "tokens", "models", "scores", "serve_model", "serve_adapters")
TARGETS += ("serve_generator",)
STARTED = re.compile(r"\s*(?:local)?rule (\w+):$")

TASK = """\
task: qa
dataset_path: parquet
dataset_kwargs:
  data_files: { train: "{dataset}/train.parquet", test: "{dataset}/test.parquet" }
test_split: test
output_type: generate_until
doc_to_text: "{{ messages[-2].content }}"
doc_to_target: "{{ messages[-1].content }}"
generation_kwargs: { until: [], max_gen_toks: 4 }
metric_list:
  - { metric: exact_match, aggregation: mean, higher_is_better: true }
"""

CONFIG: dict[str, Any] = {
    "title": "small",
    "sources": {
        "a": {"path": "raw/a.jsonl"},
        "b": {"path": "raw/b.csv", "columns": {"prompt": "q", "completion": "a"}},
    },
    "datasets": {
        "d": {
            "sources": ["a", "b"],
            "clean": [
                {"step": "normalize_text"},
                {"step": "length", "min_prompt_chars": 2, "min_answer_chars": 1},
                {"step": "exact_duplicates"},
            ],
            "split": {"validation": 8, "test": 8},
        }
    },
    "bases": {
        "t": {
            "template": "raw/chat.jinja",
            "make": {
                "vocab_size": 512,
                "hidden_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "intermediate_size": 128,
                "max_position_embeddings": 256,
                "sequence_length": 128,
                "train_steps": 6,
                "batch_size": 4,
            },
        }
    },
    "runs": {
        "s": {
            "base": "t",
            "dataset": "d",
            "max_length": 128,
            "sweep": {"lora.r": [2]},
            "training": {"max_steps": 3, "per_device_train_batch_size": 4},
            "suites": ["q"],
        }
    },
    "suites": {"q": {"folder": "raw/tasks", "tasks": ["qa"], "dataset": "d"}},
    "texts": {"general": "raw/general.txt"},
    "gates": {"rules": ["d.exact_match >= 0"]},
    "generation": {"test_rows": 3, "max_new_tokens": 4, "prompts": "raw/prompts.jsonl"},
    "latency": {
        "prompt_tokens": [8, 16],
        "output_tokens": [2, 4],
        "concurrency": [1],
        "requests_per_cell": 2,
        "warmup_requests": 2,
    },
}

# What people have in their environment; a run leaves them nowhere (test_secrets.py).
SECRETS = {
    "HF_TOKEN": "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",
    "OPENAI_API_KEY": "sk-PlantedPlantedPlantedPlanted",
    "WANDB_API_KEY": "planted0planted0planted0planted0",
    "AWS_SECRET_ACCESS_KEY": "Planted/Planted+Planted/Planted+Planted0",
}


def prompt(text: str) -> str:
    """Return a line of a prompt file."""
    return json.dumps({"messages": [{"role": "user", "content": text}]}) + "\n"


class Project:
    """A repository of its own whose scripts, rules, config and raw data a test may edit."""

    def __init__(self, folder: Path, warm: Warm | None = None) -> None:
        """Copy the repository and write the small project into it.

        ``warm`` spares Snakemake and its jobs their imports.
        """
        self.folder = folder
        self.warm = warm
        for part in PARTS:
            source = REPO / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, folder / part, ignore=ignored)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / part)
        if warm:
            self.append("Snakefile", f'\n\nshell.prefix("export PATH={warm.programs}:$PATH; ")\n')
        self.config = json.loads(json.dumps(CONFIG))
        self._write_raw()
        self.write_config()

    def _write_raw(self) -> None:
        raw = self.folder / "raw"
        (raw / "tasks").mkdir(parents=True)
        (raw / "tasks/qa.yaml").write_text(TASK)
        shutil.copyfile(REPO / "config/templates/chatml.jinja", raw / "chat.jinja")
        rows = [{"instruction": f"Say {i} twice", "output": f"{i} {i}"} for i in range(60)]
        (raw / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        table = "".join(f"What is {i} and one?,{i + 1}.0\n" for i in range(10, 40))
        (raw / "b.csv").write_text("q,a\n" + table)
        (raw / "general.txt").write_text("The cat sat on the mat. " * 20)
        (raw / "prompts.jsonl").write_text(prompt("Say 7 twice"))

    def write_config(self) -> None:
        """Write ``config`` as the copy's default config."""
        text = yaml.safe_dump(self.config, sort_keys=False)
        (self.folder / "config/config.yaml").write_text(text)

    def path(self, name: str) -> Path:
        """Return a path of the project; ``*`` stands for what is there."""
        if "*" not in name:
            return self.folder / name
        found = sorted(self.folder.glob(name))
        assert found, f"nothing matches {name}"
        return found[0]

    def replace(self, name: str, old: str, new: str) -> None:
        """Replace text that stands in a file once."""
        path = self.path(name)
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    def append(self, name: str, text: str) -> None:
        """Add text at the end of a file."""
        path = self.path(name)
        path.write_text(path.read_text() + text)

    def damage(self, name: str) -> None:
        """Change a byte in the middle of a file, as a bad disk would."""
        path = self.path(name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def delete(self, name: str) -> None:
        """Delete a file or a folder."""
        path = self.path(name)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Run the copy's workflow in the copy's folder."""
        line = [str(Path(sys.executable).parent / "snakemake"), *arguments]
        environment = {**os.environ, **environment}
        if self.warm:
            return self.warm.run(line, self.folder, environment)
        return subprocess.run(
            line,
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def run(self, *arguments: str, **environment: str) -> set[str]:
        """Run everything; return the jobs that ran, as "rule wildcard"."""
        done = self.snakemake("--cores", "all", *arguments, **environment)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return jobs_in(done.stdout + done.stderr)

    def planned(self, *arguments: str, **environment: str) -> set[str]:
        """Return the jobs that a dry run shows."""
        done = self.snakemake("--dry-run", *arguments, **environment)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return jobs_in(done.stdout)


def jobs_in(text: str) -> set[str]:
    """Return the jobs that Snakemake says it runs, servers and targets left out."""
    jobs: list[list[str]] = []
    for line in text.splitlines():
        if found := STARTED.match(line):
            jobs.append([found[1]])
        elif jobs and line.strip().startswith("wildcards: "):
            jobs[-1][1:] = re.findall(r"=([^,\s]+)", line)
    return {" ".join(job) for job in jobs if job[0] not in TARGETS}
