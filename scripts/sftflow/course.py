"""The course of a training, read back from history.csv, and what its noise allows to say.

``history.py`` writes that table within a training; this reads it, and is apart so that another
way of reading retrains nothing.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sftflow.stage import StageError

PARTS = 10  # a training's loss is looked at by tenths


@dataclass(frozen=True)
class Point:
    """A figure at a step."""

    step: int
    value: float


@dataclass(frozen=True)
class Course:
    """What was logged, in the order of the steps."""

    loss: Sequence[Point]  # of the batches, nats per token
    validation: Sequence[Point] = ()
    learning_rate: Sequence[Point] = ()
    grad_norm: Sequence[Point] = ()

    @property
    def best(self) -> Point | None:
        """Return the first lowest validation loss."""
        return min(self.validation, key=lambda p: (p.value, p.step), default=None)

    @property
    def after_best(self) -> list[Point]:
        """Return the evaluations after the best one."""
        return [p for p in self.validation if self.best and p.step > self.best.step]


COLUMNS = {
    "loss": "loss",
    "eval_loss": "validation",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
}


def read_course(path: Path) -> Course:
    """Return the course in a history.csv; raise StageError naming the line that can't be read.

    A gradient norm that is no finite number is left out: float16 training has some by design.
    """
    found: dict[str, list[Point]] = {name: [] for name in COLUMNS.values()}
    with path.open(encoding="utf-8", newline="") as file:
        for line, cells in enumerate(csv.DictReader(file), start=2):
            try:
                for column, name in COLUMNS.items():
                    if cells.get(column):
                        point = Point(int(float(cells["step"])), float(cells[column]))
                        if math.isfinite(point.value):
                            found[name].append(point)
                        elif name != "grad_norm":
                            raise ValueError(f"{column} is {cells[column]}")
            except (KeyError, TypeError, ValueError) as error:
                raise StageError(f"{path}, line {line}: {error}; delete it and rerun") from None
    return Course(**found)


def parts(points: Sequence[Point]) -> list[float]:
    """Return the mean of each tenth of a curve, of fewer parts if it has fewer points."""
    count = min(PARTS, len(points))
    edges = [part * len(points) // count for part in range(count + 1)] if count else []
    return [
        math.fsum(p.value for p in points[start:end]) / (end - start)
        for start, end in itertools.pairwise(edges)
    ]


def noise(points: Sequence[Point]) -> float:
    """Return the standard error of the difference of two tenths, from step to step noise.

    Second differences of independent noise have six times its variance, and hardly any of a smooth
    trend (the pseudo-residuals of Gasser, Sroka and Jennen-Steinmetz 1986, Biometrika 73).
    """
    values = [p.value for p in points]
    bends = [(a - 2 * b + c) ** 2 for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    if not bends:
        return 0.0
    variance = math.fsum(bends) / len(bends) / 6
    return math.sqrt(2 * variance / max(1, len(points) // PARTS))
