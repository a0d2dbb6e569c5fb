"""Place a sample of a dataset's training prompts on a map, by what an embedding model says.

reads   train.parquet of the dataset, and the embedding model of its cleaning
writes  map.json: {model_sha256, points: [[id, source, x, y], ...]}, x and y between -1 and 1;
        no points where there are too few different prompts for a map
spec    dataset, model, revision, batch_size
"""

from __future__ import annotations

import numpy as np

from sftflow.embeddingmap import FEWEST, placed, sampled
from sftflow.embeddings import Embedder, model_folder
from sftflow.manifests import write_json
from sftflow.records import read_rows
from sftflow.stage import console, run_stage, stage_parser


def main(argv: list[str]) -> None:
    """Run the stage."""
    parser = stage_parser(__doc__, "train", "map")
    args = parser.parse_args(argv)
    spec = args.spec
    drawn = sampled(read_rows(args.train, ["id", "source", "messages"]))
    embed = Embedder(model_folder(spec["model"], spec["revision"]), spec["batch_size"])
    points = []
    if len({asked for _, _, asked in drawn}) >= FEWEST:
        # One vector a prompt: the mean of its pieces, where the model reads less.
        vectors = np.stack([v.mean(axis=0) for v in embed([asked for _, _, asked in drawn])])
        if len(np.unique(vectors, axis=0)) >= FEWEST:
            points = [
                [name, source, round(float(x), 4), round(float(y), 4)]
                for (name, source, _), (x, y) in zip(drawn, placed(vectors), strict=True)
            ]
    write_json(args.map, {"model_sha256": embed.sha256, "points": points})
    console().say(f"{spec['dataset']}: {len(points)} prompts on the map")


if __name__ == "__main__":
    run_stage(main)
