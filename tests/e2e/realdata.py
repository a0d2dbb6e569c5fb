"""Real files of other people's, where this machine has them, and a config that runs them."""

from __future__ import annotations

import json
from pathlib import Path

REAL = Path(__file__).parents[3] / "shared" / "data"
FILES = {
    "alpaca": "alpaca_en_demo.json",
    "toolcalls": "glaive_toolcall_en_demo.json",
    "gsm8k": "gsm8k_train.jsonl",
}
ROWS = {"alpaca": 999, "toolcalls": 300, "gsm8k": 7473}


def write_config(path: Path, base: Path, data: Path = REAL) -> Path:
    """Write a config: each file a source, a dataset and a short run on the base in a folder."""
    config = {
        "title": "Real data on the tiny base",
        "sources": {name: {"path": str(data / file)} for name, file in FILES.items()},
        "datasets": {
            name: {"sources": [name], "split": {"validation": 20, "test": 40}} for name in FILES
        },
        "bases": {"tiny": {"path": str(base)}},
        "runs": {
            f"{name}-lora": {
                "base": "tiny",
                "dataset": name,
                "max_length": 768,
                "training": {
                    "learning_rate": 1e-3,
                    "max_steps": 6,
                    "per_device_train_batch_size": 4,
                    "gradient_accumulation_steps": 1,
                },
            }
            for name in FILES
        },
        "generation": {"test_rows": 4, "max_new_tokens": 16},
        "latency": {
            "prompt_tokens": [8, 16],
            "output_tokens": [2, 4],
            "concurrency": [1],
            "requests_per_cell": 2,
            "warmup_requests": 2,
        },
    }
    path.write_text(json.dumps(config, indent=1))
    return path
