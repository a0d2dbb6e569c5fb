"""Make data/alpaca_sample.json: 300 rows in Alpaca's format, for the examples in config/examples/.

python data/make_alpaca_sample.py
"""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = (  # noqa: SIM905 (a list of twenty quotes reads worse)
    "river mountain window garden letter engine basket candle planet bridge winter copper "
    "silver harbor forest pencil market island mirror ladder"
).split()


def row(rng: random.Random) -> dict[str, str]:
    """Return one instruction with its answer, a sentence."""
    words = rng.sample(WORDS, rng.randint(3, 6))
    listed = ", ".join(words)
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    tasks = [
        ("Sort these words alphabetically.", f"In order: {', '.join(sorted(words))}."),
        ("Which of these words is the longest?", f"The longest is {max(words, key=len)}."),
        ("How many words are in this list?", f"There are {len(words)} words in the list."),
        ("Write these words in capital letters.", f"In capitals: {listed.upper()}."),
        ("Repeat the list from last to first.", f"From last to first: {', '.join(words[::-1])}."),
    ]
    if rng.random() < 0.2:
        question = f"What is {a} plus {b}? Answer in a sentence."
        return {"instruction": question, "input": "", "output": f"{a} plus {b} is {a + b}."}
    instruction, output = rng.choice(tasks)
    return {"instruction": instruction, "input": listed, "output": output}


def main() -> None:
    """Write the file beside this script."""
    rng = random.Random(11)
    rows = [row(rng) for _ in range(300)]
    text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name("alpaca_sample.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
