"""Which rows are set aside: by a seed, by prompt, and to the row."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sftflow.stage import StageError

SIDES = ("test", "validation", "train")


def wanted_rows(share: float, rows: int, side: str) -> int:
    """Return how many of ``rows`` a share (below 1) or a number of rows asks for."""
    if share < 0 or (share >= 1 and share != int(share)):
        raise StageError(f"split.{side} is {share}; expected a share below 1 or a number of rows")
    if share == 0:
        return 0
    return max(1, round(share * rows)) if share < 1 else int(share)


def split_sides(
    keys: Sequence[int], split: Mapping[str, Any], strata: Sequence[str] | None = None
) -> np.ndarray:
    """Return for each row the index in SIDES of its side; equal keys go to one side.

    Keys (64-bit hashes of prompts) are put in the order of a hash with the seed, and each side
    takes the groups that fit until it has its number of rows: so a row that is added or removed
    elsewhere moves few others. With ``strata`` (one per row; a group is in that of its first row)
    each stratum gives its share of a side. Raises StageError if a side can't be filled.
    """
    rows = len(keys)
    wanted = {side: wanted_rows(split[side], rows, side) for side in SIDES[:2]}
    if sum(wanted.values()) >= rows:
        raise StageError(
            f"{rows} rows are too few for validation {wanted['validation']} and test "
            f"{wanted['test']} with at least 1 left to train on; lower them (0 sets none aside)"
        )
    groups, first_row, group_of_row, sizes = np.unique(
        np.asarray(keys, dtype=np.uint64),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    order = sorted(range(len(groups)), key=lambda g: _place(split["seed"], int(groups[g])))
    side_of_group = np.full(len(groups), SIDES.index("train"), dtype=np.int8)
    in_stratum = {"": order}
    if strata is not None:
        in_stratum = {name: [] for name in sorted(set(strata))}
        for group in order:
            in_stratum[strata[first_row[group]]].append(group)
    for side in SIDES[:2]:
        shares = _shares(wanted[side], {k: sizes[of].sum() for k, of in in_stratum.items()})
        left = {name: len(of) for name, of in in_stratum.items()}
        for name, share in shares.items():
            in_stratum[name] = _fill(side, share, in_stratum[name], sizes, side_of_group)
        if wanted[side] and left == {name: len(of) for name, of in in_stratum.items()}:
            raise StageError(
                f"split.{side} asks for {wanted[side]} of {rows} rows, but they share "
                f"{len(sizes)} prompts or groups and none left has so few rows; "
                "ask for more or set it to 0"
            )
    sides = side_of_group[group_of_row]
    if not (sides == SIDES.index("train")).any():
        raise StageError(
            f"nothing is left to train on: {rows} rows, {len(groups)} prompts or groups"
        )
    return sides


def shortfalls(sides: np.ndarray, split: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return (rows, rows asked for) of each side that lacks more than a tenth, and one row."""
    short = {}
    for index, side in enumerate(SIDES[:2]):
        got, wanted = int((sides == index).sum()), wanted_rows(split[side], len(sides), side)
        if got < min(0.9 * wanted, wanted - 1):
            short[side] = (got, wanted)
    return short


def _shares(wanted: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Divide ``wanted`` rows in proportion to ``sizes`` (the largest remainders round up)."""
    rows = sum(map(int, sizes.values()))
    exact = {name: wanted * int(size) / rows if rows else 0.0 for name, size in sizes.items()}
    shares = {name: int(share) for name, share in exact.items()}
    by_rest = sorted(exact, key=lambda name: (shares[name] - exact[name], name))
    for name in by_rest[: wanted - sum(shares.values())]:
        shares[name] += 1
    return shares


def _place(seed: int, key: int) -> bytes:
    return hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()


def _fill(
    side: str, wanted: int, order: list[int], sizes: np.ndarray, side_of_group: np.ndarray
) -> list[int]:
    """Give ``side`` the first groups that fit into ``wanted`` rows; return the other groups."""
    left, others = wanted, []
    for group in order:
        if sizes[group] <= left:
            side_of_group[group] = SIDES.index(side)
            left -= int(sizes[group])
        else:
            others.append(group)
    return others
