"""Fetch a start model from the Hugging Face hub: one commit, safetensors only, every file summed.

reads   the hub, where HF_ENDPOINT says, with HF_TOKEN if it is set
writes  hub/{base}/: the model's files as they are there, SHA256SUMS, manifest.json

The only stage that needs a network; on a cluster it runs where Snakemake runs (a login node). A
download that was cut off goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sftflow.folders import built_beside
from sftflow.hub import fetched_model
from sftflow.manifests import write_manifest
from sftflow.modelfolders import check_source, link, model_parts
from sftflow.stage import console, run_stage, stage_parser


def kept(files: Iterable[Path], folder: Path) -> list[Path]:
    """Put files of the hub's cache into ``folder``, linked where that can be; return them."""
    made = []
    for path in files:
        # The cache has links to what it holds, and goes away.
        link(path.resolve(), folder / path.name, stays=False)
        made.append(folder / path.name)
    return made


def main(argv: list[str] | None = None) -> None:
    """Download, look whether all is there, and vouch for every byte."""
    args = stage_parser(__doc__, "folder", "manifest").parse_args(argv)
    spec = args.spec
    code = spec["trust_remote_code"]
    with fetched_model(spec["hub"], spec["revision"], code, args.folder.parent) as source:
        check_source(source)
        taken, left_out = model_parts(source, code)
        with built_beside(args.folder) as folder:
            payloads = kept(taken, folder)
            console().say(f"{spec['hub']}: {len(payloads)} files")
            write_manifest(
                folder / "manifest.json",
                stage="fetch_base",
                spec=spec,
                payloads=payloads,
                left_out=left_out,
            )


if __name__ == "__main__":
    run_stage(main)
