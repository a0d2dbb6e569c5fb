"""Set validation and test rows aside; one prompt never stands on two sides.

Reads:  records.parquet of the cleaned dataset.
Writes: train.parquet, validation.parquet, test.parquet (records.RECORD, in the order of the
        input; a side of 0 rows is a table without rows), manifest.json and SHA256SUMS.
Stops:  if the rows are too few for what spec.split asks for.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from sftflow.manifests import write_manifest
from sftflow.prompts import prompt_key
from sftflow.records import RECORD, open_table, read_rows
from sftflow.splitting import SIDES, split_sides
from sftflow.stage import console, run_stage, stage_parser


def write_sides(records: Path, sides: np.ndarray, paths: dict[str, Path]) -> None:
    """Write row i of ``records`` to the file of side ``sides[i]``."""
    with ExitStack() as stack:
        tables = [stack.enter_context(open_table(paths[side], RECORD)) for side in SIDES]
        for record, side in zip(read_rows(records), sides, strict=True):
            tables[side].add(record)


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "records", "train", "validation", "test", "manifest")
    args = parser.parse_args(argv)
    spec = args.spec
    keys = np.fromiter(
        (prompt_key(row["messages"]) for row in read_rows(args.records, ["messages"])), np.uint64
    )
    sides = split_sides(keys, spec["split"])
    paths = {side: getattr(args, side) for side in SIDES}
    write_sides(args.records, sides, paths)
    counts = {side: int((sides == i).sum()) for i, side in enumerate(SIDES)}
    write_manifest(
        args.manifest,
        stage="split_dataset",
        spec=spec,
        payloads=paths.values(),
        inputs={"records": args.records},
        counts={"rows_in": len(keys), "prompts": len(np.unique(keys)), **counts},
        packages=["pyarrow"],
    )
    shown = ", ".join(f"{counts[side]} {side}" for side in reversed(SIDES))
    console().say(f"{spec['dataset']}: {shown}")


if __name__ == "__main__":
    run_stage(main)
