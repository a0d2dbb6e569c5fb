"""How many rows came in, stayed and went, and why: the counts of the data stages."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MOST_EXAMPLES = 3


class Tally:
    """Counts of one stage. rows_in = kept + the sum of rejected."""

    def __init__(self) -> None:
        """Start at zero."""
        self.rows_in = self.kept = self.messages = self.characters = 0
        self.rejected: Counter[str] = Counter()
        self.formats: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def keep(self, record: Mapping[str, Any], format_name: str | None = None) -> None:
        """Count a record that stays."""
        self.kept += 1
        self.messages += len(record["messages"])
        self.characters += sum(len(m["content"]) for m in record["messages"])
        if format_name:
            self.formats[format_name] += 1

    def reject(self, reason: str, example: str) -> None:
        """Count a row that goes; ``example`` names it for a person."""
        self.rejected[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < MOST_EXAMPLES:
            shown.append(example)

    def counts(self) -> dict[str, Any]:
        """Return the counts for a manifest."""
        counts = {
            "rows_in": self.rows_in,
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
            "messages": self.messages,
            "characters": self.characters,
        }
        return {**counts, "formats": dict(sorted(self.formats.items()))} if self.formats else counts

    def sentence(self) -> str:
        """Return the counts as one line for a person."""
        gone = ", ".join(f"{n} {reason}" for reason, n in self.rejected.most_common())
        return f"{self.rows_in} rows, {self.kept} kept" + (f", rejected: {gone}" if gone else "")


def too_many_rejected(tally: Tally, most: float, what: str) -> str | None:
    """Return the sentence of a stage that has to stop, or None if enough rows are left."""
    gone = sum(tally.rejected.values())
    if tally.kept and gone <= most * tally.rows_in:
        return None
    reasons = "; ".join(
        f"{n} {reason} (e.g. {tally.examples[reason][0]})"
        for reason, n in tally.rejected.most_common(5)
    )
    if not tally.kept:
        head = f"{what}: none of {tally.rows_in} rows can be used"
    else:
        head = (
            f"{what}: {gone} of {tally.rows_in} rows rejected, more than "
            f"max_rejected_fraction {most:g}"
        )
    return f"{head}: {reasons}"


def inspection_path(rejected: Path) -> Path:
    """Return where the rejected rows of a failed run are left to be looked at."""
    return rejected.with_name("rejected-of-failed-run.parquet")


@contextmanager
def keep_for_inspection(rejected: Path) -> Iterator[None]:
    """Leave a copy of ``rejected`` beside it if the block fails: Snakemake deletes outputs."""
    left = inspection_path(rejected)
    for former in (left, rejected):
        former.unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        with suppress(FileNotFoundError):
            shutil.copyfile(rejected, left)
        raise
