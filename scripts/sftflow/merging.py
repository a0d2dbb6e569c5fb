"""Proof that a merged model is the adapter on its base, and the files around its weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sftflow.manifests import write_text

PROOF_POSITIONS = 1024  # tokens that are compared; bounds memory by this times the vocabulary

# What rounding each merged weight once may move the logits, computed in float32 from the saved
# weights. Measured on a Qwen2 of 3.7 million parameters over 1,024 positions: float32 2.3e-6,
# float16 1.4e-3, bfloat16 0.02 (0.3 % other choices). Larger models have larger logits.
MOST_DIFFERENCE = {"float32": 1e-3, "float16": 0.1, "bfloat16": 1.0}
LEAST_AGREEMENT = {"float32": 0.999, "float16": 0.99, "bfloat16": 0.98}
NO_CHANGE = 1e-4  # less than this is the order of additions, not training

WEIGHTS = (".safetensors", ".safetensors.index.json")
OWN_FILES = (
    "config.json",
    "generation_config.json",
    "manifest.json",
    "SHA256SUMS",
    "START.SHA256SUMS",
    "README.md",
)


@dataclass
class Comparison:
    """Two models' logits over the same positions, added up row by row."""

    positions: int = 0
    agreeing: int = 0
    max_difference: float = 0.0
    kl_sum: float = 0.0
    rows: int = field(default=0)

    def add(self, one: Any, other: Any) -> None:
        """Compare logits ``one`` and ``other``, both (positions, vocabulary) float32."""
        import torch

        self.rows += 1
        self.positions += one.shape[0]
        difference = (one - other).abs().max()  # NaN stays NaN in torch's maximum, not in max()
        self.max_difference = float(difference.clamp(min=self.max_difference))
        self.agreeing += int((one.argmax(-1) == other.argmax(-1)).sum())
        log_p, log_q = torch.log_softmax(one, -1), torch.log_softmax(other, -1)
        self.kl_sum += float((log_p.exp() * (log_p - log_q)).sum())

    def summary(self) -> dict[str, Any]:
        """Return the figures; shares and means are null without any position."""
        some = self.positions or None
        return {
            "rows": self.rows,
            "positions": self.positions,
            "max_logit_difference": self.max_difference if some else None,
            "greedy_agreement": self.agreeing / some if some else None,
            "mean_kl": max(self.kl_sum / some, 0.0) if some else None,
        }


def proof_rows(rows: Iterable[dict[str, Any]]) -> list[list[int]]:
    """Return token ids of the first rows, as many as PROOF_POSITIONS allow (at least one)."""
    chosen, left = [], PROOF_POSITIONS
    for row in rows:
        if left <= 0:
            break
        chosen.append(row["input_ids"][: max(left, 2)])
        left -= len(chosen[-1])
    return chosen


def logits_of(model: Any, rows: Sequence[Sequence[int]]) -> list[Any]:
    """Return each row's logits (length, vocabulary), float32 on the CPU."""
    import torch

    model.eval()
    with torch.no_grad():
        return [
            model(input_ids=torch.tensor([list(ids)], device=model.device)).logits[0].float().cpu()
            for ids in rows
        ]


def compare(one: Sequence[Any], other: Sequence[Any]) -> dict[str, Any]:
    """Return the comparison of two models' logits over the same rows."""
    comparison = Comparison()
    for a, b in zip(one, other, strict=True):
        comparison.add(a, b)
    return comparison.summary()


def proof_faults(
    proof: dict[str, dict[str, Any]], dtype: str, bound: float | None = None
) -> list[str]:
    """Return what is wrong with a merge, as sentences; [] means that it is proven.

    ``proof`` has three comparisons: ``merged`` of trained and merged model, ``trained`` of base
    and trained one, ``tuned`` of base and merged one.
    """
    most = MOST_DIFFERENCE[dtype] if bound is None else bound
    merged = proof["merged"]
    difference, agreement = merged["max_logit_difference"], merged["greedy_agreement"]
    if difference is None:
        return ["there is no row to compare the merged model on"]
    faults = []
    if not difference <= most:  # also true for NaN
        faults.append(
            f"adapter and merged model differ by up to {difference:.4g} in their logits; "
            f"at most {most:.4g} is allowed in {dtype}"
        )
    if agreement < LEAST_AGREEMENT[dtype]:
        faults.append(
            f"adapter and merged model choose the same token at only {agreement:.2%} of "
            f"{merged['positions']} positions; at least {LEAST_AGREEMENT[dtype]:.1%} is asked"
        )
    if not proof["trained"]["max_logit_difference"] > NO_CHANGE:
        faults.append("base and trained model have the same logits: the training changed nothing")
    elif not proof["tuned"]["max_logit_difference"] > 2 * difference:
        faults.append(
            f"merged and base model differ by {proof['tuned']['max_logit_difference']:.4g}, merged "
            f"and trained one by {difference:.4g}: the training is lost in the merged weights"
        )
    return faults


def copy_tokenizer_files(base: Path, target: Path) -> list[str]:
    """Copy everything but weights and generated files byte for byte; return the names."""
    copied = []
    for path in sorted(base.iterdir()):
        if not path.is_file() or path.name in OWN_FILES or path.name.endswith(WEIGHTS):
            continue
        shutil.copyfile(path, target / path.name)
        copied.append(path.name)
    return copied


def write_generation_config(base: Path, target: Path, end_of_turn: int) -> list[int]:
    """Write the base's generation_config.json with ``end_of_turn`` among its eos tokens."""
    path = base / "generation_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    eos = config.get("eos_token_id")
    known = eos if isinstance(eos, list) else [] if eos is None else [eos]
    ends = [end_of_turn, *(token for token in known if token != end_of_turn)]
    config["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    write_text(target / "generation_config.json", text)
    return ends
