"""How fast and how well a million rows are cleaned: `python bench/data.py --rows 1000000`.

Makes Alpaca-like rows from a seed, about 20 % exact duplicates (other case and spaces) and 20 %
near duplicates among them, runs the stages ingest_source and clean_dataset on them as the
workflow does (normalize_text, length, exact_duplicates, near_duplicates), and prints rows/s, peak
memory, and recall and precision of near_duplicates. Beside them, in the same go, on the first
--beside rows: datasketch with the same shingles, bands and exact check, and data-juicer's own exact
and MinHash deduplicators with the same shingle size and bands, two processes, if --datasketch and
--data-juicer name a Python that has them (pip install datasketch py-data-juicer aiohttp); and a
plain loop that reads and writes the JSON, as the machine's own measure. On a machine that has other
work, rows per processor second say more than rows per second.

What is near is computed here, apart from the stage: sets of three words, of user and assistant.
Each planted row is an earlier one with words replaced, from one word up to a Jaccard similarity
of 0.6: those of 0.8 and more must go (recall), the others must stay (precision).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

REPO = Path(__file__).parents[1]
NGRAM, THRESHOLD, NUM_PERM = 3, 0.8, 128
OPENINGS = (
    "Write a short story about", "Explain to a child what is meant by", "Summarize this text:",
    "Give three tips for", "Translate into plain words:", "Compare and contrast", "What is",
    "Classify the following as good or bad:", "Rewrite this in a formal tone:", "List some",
)  # fmt: skip


def vocabulary(rng: random.Random, size: int = 30_000) -> list[str]:
    """Return pronounceable words, all different."""
    parts = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    words: dict[str, None] = {}
    while len(words) < size:
        words["".join(rng.choices(parts, k=rng.randint(1, 4)))] = None
    return list(words)


def drawn(words: list[str], rng: np.random.Generator) -> Iterator[str]:
    """Yield words, a few of them very often, as in a language (Zipf)."""
    while True:
        ranks = rng.zipf(1.15, 1 << 16)
        yield from (words[rank] for rank in ranks[ranks < len(words)])


def fresh(stream: Iterator[str], rng: random.Random) -> tuple[str, str]:
    """Return an instruction and an answer, about as long as Alpaca's (12 and 45 words)."""
    some = rng.randint(3, 14)
    prompt = f"{rng.choice(OPENINGS)} {' '.join(next(stream) for _ in range(some))}?"
    sentences = [
        " ".join(next(stream) for _ in range(rng.randint(5, 14))).capitalize() + "."
        for _ in range(rng.randint(1, 9))
    ]
    return prompt, " ".join(sentences)


def changed(row: tuple[str, str], stream: Iterator[str], rng: random.Random) -> tuple[str, str]:
    """Return ``row`` with some words replaced."""
    words = [text.split(" ") for text in row]
    places = [(side, i) for side in (0, 1) for i in range(len(words[side]))]
    for side, i in rng.sample(places, min(len(places), rng.choice((1, 1, 1, 1, 2, 2, 3, 5)))):
        words[side][i] = next(stream)
    return " ".join(words[0]), " ".join(words[1])


def triples(row: tuple[str, str]) -> set[tuple[str, ...]]:
    """Return the three-word shingles of a row, without case and punctuation."""
    words = " ".join(row).lower().translate(str.maketrans("?.:", "   ")).split()
    return set(zip(*(words[k:] for k in range(NGRAM)), strict=False))


def similarity(one: tuple[str, str], other: tuple[str, str]) -> float:
    """Return the Jaccard similarity of two rows."""
    a, b = triples(one), triples(other)
    return len(a & b) / len(a | b)


def planted(rows: int, seed: int) -> Iterator[tuple[tuple[str, str], int, float]]:
    """Yield rows with the row (from 1) that each was made from (0: none) and their similarity."""
    rng = random.Random(seed)
    stream = drawn(vocabulary(rng), np.random.default_rng(seed))
    pool: list[tuple[int, tuple[str, str]]] = []  # earlier fresh rows to copy from
    for number in range(1, rows + 1):
        kind = rng.random() if len(pool) > 100 else 1.0
        if kind < 0.2:
            origin, row = rng.choice(pool)
            yield (row[0].upper() if kind < 0.1 else row[0], row[1].replace(" ", "  ")), origin, 1.0
        elif kind < 0.5:
            origin, row = rng.choice(pool)
            near = changed(row, stream, rng)
            yield near, origin, similarity(row, near)
        else:
            row = fresh(stream, rng)
            if len(pool) < 50_000:
                pool.append((number, row))
            else:
                pool[rng.randrange(len(pool))] = (number, row)
            yield row, 0, 0.0


def write_rows(path: Path, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Write the rows as Alpaca JSON Lines; return what each was made from and how alike."""
    origins, alike = np.zeros(rows + 1, dtype=np.int64), np.zeros(rows + 1)
    with path.open("w", encoding="utf-8") as file:
        for number, ((prompt, answer), origin, near) in enumerate(planted(rows, seed), 1):
            row = {"instruction": prompt, "input": "", "output": answer}
            file.write(json.dumps(row) + "\n")
            origins[number], alike[number] = origin, near
    return origins, alike


def stage(name: str, spec: dict, *arguments: object) -> tuple[float, float, float]:
    """Run a stage's script; return its wall time, its processor time (s), its peak memory (GiB)."""
    command = [sys.executable, str(REPO / "scripts" / f"{name}.py"), "--spec", json.dumps(spec)]
    start = time.monotonic()
    child = subprocess.Popen([*command, *map(str, arguments)], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{name} failed")
    wall_s = time.monotonic() - start
    return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20


def run_stages(work: Path) -> list[tuple[str, float, float, float]]:
    """Ingest and clean the rows in ``work``; return (stage, wall s, processor s, GiB) of each."""
    sys.path.insert(0, str(REPO / "scripts"))
    from sftflow.configschema import fill_defaults, schema

    definitions = schema()["$defs"]
    source = fill_defaults({"path": str(work / "rows.jsonl")}, definitions["source"])
    ingest = {k: v for k, v in source.items() if k != "description"}
    steps = ("normalize_text", "length", "exact_duplicates", "near_duplicates")
    entry = {"sources": ["s"], "clean": [{"step": step} for step in steps]}
    dataset = fill_defaults(entry, definitions["dataset"])
    clean = {k: dataset[k] for k in ("sources", "clean", "max_rejected_fraction")}
    done = []
    for name, spec, folder, more in (
        ("ingest_source", {"source": "s", **ingest}, "s", ()),
        ("clean_dataset", {"dataset": "d", **clean}, "d", ("--sources", work / "s")),
    ):
        at = work / folder
        files = (
            "--records", at / "records.parquet", "--rejected", at / "rejected.parquet",
            "--manifest", at / "manifest.json",
        )  # fmt: skip
        done.append((name, *stage(name, spec, *files, *more)))
    return done


def found(rejected: Path, origins: np.ndarray, alike: np.ndarray) -> dict[str, float | int]:
    """Return recall and precision of near_duplicates, from the rows that it rejected."""
    table = pq.read_table(rejected, columns=["row", "reason"]).to_pylist()
    gone: dict[str, set[int]] = {}
    for row in table:
        gone.setdefault(row["reason"], set()).add(row["row"])
    others = set().union(*(rows for why, rows in gone.items() if why != "near_duplicate"))
    numbers = np.arange(1, len(origins))
    # A row can be found only if it and what it was made from have come to this step.
    came = [n for n in numbers[origins[1:] > 0].tolist() if not {n, origins[n]} & others]
    near = {n for n in came if alike[n] >= THRESHOLD}
    taken = gone.get("near_duplicate", set())
    return {
        "planted": len(near),
        "rejected": len(taken),
        "recall": len(near & taken) / len(near),
        "precision": len(near & taken) / len(taken),
    }


DATASKETCH = """
import json, sys, time
from datasketch import MinHash, MinHashLSH
rows, b, r, threshold, n = int(sys.argv[2]), *map(int, sys.argv[3:5]), float(sys.argv[5]), 3
start, seen, sets, gone = time.monotonic(), set(), {}, 0
index = MinHashLSH(num_perm=b * r, params=(b, r))
for number, line in enumerate(open(sys.argv[1])):
    if number == rows:
        break
    row = json.loads(line)
    words = (row["instruction"] + " " + row["output"]).lower()
    words = words.translate(str.maketrans("?.:", "   ")).split()
    key = hash(" ".join(words))
    if key in seen:
        continue
    seen.add(key)
    mine = set(zip(words, words[1:], words[2:]))
    sketch = MinHash(num_perm=b * r)
    sketch.update_batch([" ".join(t).encode() for t in mine])
    if any(len(mine & sets[o]) >= threshold * len(mine | sets[o]) for o in index.query(sketch)):
        gone += 1
    else:
        index.insert(number, sketch)
        sets[number] = mine
import resource
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20, gone)
"""


DATA_JUICER = """
import json, sys, time
from data_juicer.core.data import NestedDataset
from data_juicer.ops.deduplicator.document_deduplicator import DocumentDeduplicator
from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator
rows, b, r, threshold = int(sys.argv[2]), *map(int, sys.argv[3:5]), float(sys.argv[5])
start, texts = time.monotonic(), []
for number, line in enumerate(open(sys.argv[1])):
    if number == rows:
        break
    row = json.loads(line)
    texts.append({"text": row["instruction"] + " " + row["output"]})
data = NestedDataset.from_list(texts)
exact = DocumentDeduplicator(lowercase=True, ignore_non_character=True)
near = DocumentMinhashDeduplicator(
    window_size=3, num_permutations=b * r, num_bands=b, num_rows_per_band=r,
    jaccard_threshold=threshold, lowercase=True, ignore_pattern=r"[?.:]",
)
left = []
for op in (exact, near):
    hashed = data.map(op.compute_hash, num_proc=2, load_from_cache_file=False)
    data, _ = op.process(hashed)
    left.append(len(data))
import resource
used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
busy = sum(u.ru_utime + u.ru_stime for u in used)
sys.__stdout__.write(
    f"\\n{time.monotonic() - start} {busy} {max(u.ru_maxrss for u in used) / 2**20} "
    f"{left[0] - left[1]}\\n"
)
"""


def plain_loop(path: Path) -> tuple[float, float]:
    """Return the wall and processor time (s) of reading and writing the JSON, nothing else."""
    start, busy = time.monotonic(), time.process_time()
    with path.open() as lines, Path(os.devnull).open("w") as out:
        for line in lines:
            out.write(json.dumps(json.loads(line)))
    return time.monotonic() - start, time.process_time() - busy


def main() -> None:
    """Make the rows, run the stages, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--datasketch", help="a Python that can import datasketch")
    parser.add_argument("--data-juicer", help="a Python that can import data_juicer")
    parser.add_argument("--beside", type=int, default=20_000, help="rows for these two")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-data-") as folder:
        work = Path(folder)
        origins, alike = write_rows(work / "rows.jsonl", args.rows, args.seed)
        say(
            f"{args.rows:,} rows, {(work / 'rows.jsonl').stat().st_size / args.rows:.0f} bytes each"
        )
        stages = run_stages(work)
        for name, wall_s, busy_s, gib in stages:
            show(name, args.rows, wall_s, busy_s, gib)
        both = [sum(done[i] for done in stages) for i in (1, 2)]
        show("both", args.rows, *both, max(done[3] for done in stages))
        figures = found(work / "d/rejected.parquet", origins, alike)
        say(" ".join(f"{k} {v:.4f}" if v <= 1 else f"{k} {v:,}" for k, v in figures.items()))
        show("json in and out", args.rows, *plain_loop(work / "rows.jsonl"), 0)
        others = {
            "datasketch": (args.datasketch, DATASKETCH),
            "data-juicer": (args.data_juicer, DATA_JUICER),
        }
        for name, (python, program) in others.items():
            if python:
                beside(name, python, program, work / "rows.jsonl", min(args.beside, args.rows))


def beside(name: str, python: str, program: str, path: Path, rows: int) -> None:
    """Print another tool's figures: exact and near duplicates of the first ``rows``."""
    from sftflow.minhash import bands

    shape = map(str, bands(THRESHOLD, NUM_PERM))
    done = subprocess.run(
        [python, "-c", program, str(path), str(rows), *shape, str(THRESHOLD)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
    wall_s, busy_s, gib, gone = map(float, done.stdout.split()[-4:])
    show(name, rows, wall_s, busy_s, gib)
    say(f"{'':15} ({rows:,} rows, {gone:,.0f} near duplicates)")


def show(name: str, rows: int, wall_s: float, busy_s: float, gib: float) -> None:
    """Print one line of figures."""
    speeds = f"{rows / wall_s:9,.0f} rows/s {rows / busy_s:9,.0f} rows per processor second"
    say(f"{name:15} {speeds} {gib:6.2f} GiB")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
