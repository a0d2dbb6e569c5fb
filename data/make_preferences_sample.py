"""Make data/preferences_sample.json: 120 preference pairs, for config/examples/dpo.yaml.

python data/make_preferences_sample.py

The questions are of the kind of alpaca_sample.json. The preferred answer is the plain one, the
rejected one says the same with talk around it; so a model that has learned the pairs is brief.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from make_alpaca_sample import row

BEFORE = ("Sure, happy to help!", "What a lovely question.", "Of course, let me think.")
AFTER = ("I hope that this helps!", "Do ask if there is more.", "Anything else that I can do?")


def pair(rng: random.Random) -> dict[str, object]:
    """Return one pair in the form of LLaMA-Factory: conversations, chosen, rejected."""
    asked = row(rng)
    question = "\n".join(part for part in (asked["instruction"], asked["input"]) if part)
    wordy = f"{rng.choice(BEFORE)} {asked['output']} {rng.choice(AFTER)}"
    return {
        "conversations": [{"from": "human", "value": question}],
        "chosen": {"from": "gpt", "value": asked["output"]},
        "rejected": {"from": "gpt", "value": wordy},
    }


def main() -> None:
    """Write the file beside this script."""
    rng = random.Random(12)
    rows = [pair(rng) for _ in range(120)]
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name("preferences_sample.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
