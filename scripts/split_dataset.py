"""Set validation and test rows aside; no prompt, near duplicate or group stands on two sides.

Reads:  records.parquet of the cleaned dataset.
Writes: train.parquet, validation.parquet, test.parquet (the columns of the input, in its
        order; a side of 0 rows is a table without rows), manifest.json and SHA256SUMS. The
        manifest says in checks how many rows set aside begin nearly as a training row does,
        and how many groups (records.RECORD: group) stand on two sides.
Stops:  if the rows are too few for what spec.split asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from sftflow.manifests import write_manifest
from sftflow.promptgroups import CHECKED_AT, PromptGroups, near_duplicates_across
from sftflow.records import open_table, read_rows, record_schema
from sftflow.rowgroups import groups_across
from sftflow.splitting import SIDES, shortfalls, split_sides
from sftflow.stage import StageError, console, run_stage, stage_parser

ROUNDS = 5  # of a split that its own check finds fault with
LARGE = 0.2  # share of the rows that begin alike from which a person should know


def write_sides(records: Path, sides: np.ndarray, paths: dict[str, Path]) -> None:
    """Write row i of ``records`` to the file of side ``sides[i]``."""
    with ExitStack() as stack:
        schema = record_schema(records)
        tables = [stack.enter_context(open_table(paths[side], schema)) for side in SIDES]
        for record, side in zip(read_rows(records), sides, strict=True):
            tables[side].add(record)


def strata_of(records: Path, by: str | None) -> list[str] | None:
    """Return the stratum of each row: its source, or its first tag ("" for a row without)."""
    if by == "source":
        return [intern(row["source"]) for row in read_rows(records, ["source"])]
    if by == "tag":
        return [intern((row["tags"] or [""])[0]) for row in read_rows(records, ["tags"])]
    return None


def split(
    records: Path, spec: Mapping[str, Any], paths: dict[str, Path]
) -> tuple[PromptGroups, np.ndarray, dict[str, Any]]:
    """Write the sides; return the groups, the side of each row and what the check found."""
    settings, folder = spec["split"], paths["train"].parent
    near = settings["near_duplicates"]
    groups = PromptGroups(records, folder, near)
    strata = strata_of(records, settings["stratify"])
    if settings["stratify"] == "tag" and not any(strata or ()):
        console().say(f"{spec['dataset']}: warning: no row has a tag, so stratify does nothing")
    for _ in range(ROUNDS):
        try:
            sides = split_sides(groups.of_row, settings, strata)
        except StageError as error:
            raise StageError(f"{error}{_too_much_alike(groups, near)}") from None
        write_sides(records, sides, paths)
        held_out = {side: paths[side] for side in ("test", "validation")}
        across, pairs = near_duplicates_across(paths["train"], held_out, folder, near or CHECKED_AT)
        if near is None or not pairs:
            break
        groups.join(pairs)  # MinHash misses one pair in 500 at the threshold
    return groups, sides, across


def _too_much_alike(groups: PromptGroups, near: float | None) -> str:
    """Return what to add to a sentence if a large part of the rows must stay together."""
    rows, largest = len(groups.keys), groups.largest()
    if (near is None and not groups.named) or largest <= LARGE * rows:
        return ""
    if groups.named:
        lower = "" if near is None else ", or raise split.near_duplicates"
        return (
            f"; {largest} of the {rows} rows stay together, because they have one group or begin "
            f"alike, directly or by way of others: name a finer column as columns.group{lower}"
        )
    return (
        f"; {largest} of the {rows} rows begin the same or nearly so (similarity {near:g} or more, "
        "directly or by way of others): raise split.near_duplicates, or set it to null"
    )


def warn(spec: Mapping[str, Any], groups: PromptGroups, sides: np.ndarray, across: dict) -> None:
    """Tell a person what of the split may not be as it was meant."""
    name, near = spec["dataset"], spec["split"]["near_duplicates"]
    held_out = int((sides != SIDES.index("train")).sum())
    if across["n"]:
        first = across["examples"][0]
        side = next(key for key in first if key in SIDES[:2])
        console().say(
            f"{name}: warning: {across['n']} of {held_out} rows set aside begin nearly as a "
            f"training row does (first: {first[side]} as {first['train']}); "
            f"split.near_duplicates: {across['threshold']:g} would keep them apart"
        )
    missing = shortfalls(sides, spec["split"])
    for side, (got, wanted) in missing.items():
        console().say(f"{name}: warning: split.{side} got {got} of the {wanted} rows asked for")
    if told := _too_much_alike(groups, near):
        console().say(f"{name}: warning: one group stays in one piece{told}")


def checked_groups(paths: Mapping[str, Path]) -> dict[str, Any]:
    """Return the check of the groups; raise StageError if one stands on two sides."""
    found = groups_across(paths)
    if found["n"]:
        raise StageError(
            f"{found['n']} of {found['groups']} groups stand on two sides of the split; this is a "
            "fault of the split itself, not of your data: please report it"
        )
    return found


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "records", "train", "validation", "test", "manifest")
    args = parser.parse_args(argv)
    paths = {side: getattr(args, side) for side in SIDES}
    args.manifest.parent.mkdir(parents=True, exist_ok=True)
    groups, sides, across = split(args.records, args.spec, paths)
    counts = {side: int((sides == i).sum()) for i, side in enumerate(SIDES)}
    write_manifest(
        args.manifest,
        stage="split_dataset",
        spec=args.spec,
        payloads=paths.values(),
        inputs={"records": args.records},
        counts={
            "rows_in": len(sides),
            "prompts": groups.prompts,
            "groups": len(np.unique(groups.of_row)),
            "largest_group": groups.largest(),
            **counts,
        },
        checks={"near_duplicates_across": across, "groups_across": checked_groups(paths)},
        packages=["pyarrow", "rensa"],
    )
    warn(args.spec, groups, sides, across)
    shown = ", ".join(f"{counts[side]} {side}" for side in reversed(SIDES))
    console().say(f"{args.spec['dataset']}: {shown}")


if __name__ == "__main__":
    run_stage(main)
