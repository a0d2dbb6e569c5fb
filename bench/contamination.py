"""How many planted benchmark questions are found, how many others match, how fast, in what memory.

    python bench/contamination.py QUESTIONS.jsonl ROWS.jsonl [MORE_ROWS.jsonl ...]

Lines have "question" (or "instruction") and "answer" (or "output"), as GSM8K has. Two hundred
questions are planted in rows: in capitals, with other spacing within a text, 16 words of each, with
other punctuation. Each file of rows is then compared as it is: what matches by itself?
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
import tracemalloc
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from sftflow.contamination import matches, survey
from sftflow.questionindex import Question, QuestionIndex
from sftflow.records import message

PLANTED = 200


def read(path: str) -> list[tuple[str, str]]:
    """Return question and answer of each row of a JSON or JSONL file."""
    text = Path(path).read_text(encoding="utf-8")
    rows = json.loads(text) if text.startswith("[") else map(json.loads, text.splitlines())
    return [
        (
            row.get("question") or f"{row['instruction']}\n{row.get('input') or ''}",
            row.get("answer") or row.get("output") or "",
        )
        for row in rows
    ]


def record(question: str, answer: str) -> dict:
    """Return a row."""
    return {"messages": [message("user", question), message("assistant", answer)]}


def planted(question: str, kind: int, rng: random.Random) -> str:
    """Return a text that holds a question, in one of four disguises."""
    words = question.split()
    start = rng.randrange(max(1, len(words) - 16))
    return (
        question.upper(),
        f"Please solve this:\n{question.replace(' ', '  ')} Thanks!",
        f"I heard that {' '.join(words[start : start + 16])} and so on.",
        question.replace(".", ",").replace("$", "USD "),
    )[kind]


def compared(index: QuestionIndex, rows: list[dict]) -> tuple[int, float]:
    """Return how many rows match, and rows per second."""
    start = time.perf_counter()
    seen = survey(index, rows)
    hits = sum(
        bool(touched and matches(index, row, seen.rows_with, 0, 0.8))
        for touched, row in zip(seen.touched, rows, strict=True)
    )
    return hits, len(rows) / (time.perf_counter() - start)


def main() -> None:
    """Print the figures."""
    asked, *others = map(read, sys.argv[1:])
    tracemalloc.start()
    questions = [Question("q", "t", i, text, False) for i, (text, _) in enumerate(asked)]
    index = QuestionIndex(questions)
    kept, words = tracemalloc.get_traced_memory()[0], sum(len(q.text.split()) for q in questions)
    tracemalloc.stop()
    sys.stdout.write(
        f"{len(asked)} questions: {kept / words:.0f} bytes in memory for each of {words} words\n"
    )
    rng = random.Random(1)
    chosen = rng.sample([text for text, _ in asked], min(PLANTED, len(asked)))
    rows = [record(planted(text, i % 4, rng), "ok") for i, text in enumerate(chosen)]
    sys.stdout.write(f"planted: {compared(index, rows)[0]} of {len(rows)} found\n")
    for path, other in zip(sys.argv[2:], others, strict=True):
        hits, speed = compared(index, [record(*row) for row in other])
        sys.stdout.write(
            f"{Path(path).name}: {hits} of {len(other)} rows match, {speed:,.0f} rows/s\n"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"peak memory of this process: {peak:,.0f} MiB\n")


if __name__ == "__main__":
    main()
