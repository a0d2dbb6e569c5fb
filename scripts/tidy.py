"""List and remove results that no config refers to: `python scripts/tidy.py --configfile F ...`.

Name every config whose results are to stay. Kept is all that they rest on: a run's start models
(also runs that other runs start from), its tokens, its dataset and that one's sources.
Only folders that this workflow makes are looked at; nothing goes without a yes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.prompt import Confirm

from sftflow import plan, searches
from sftflow.codegraph import split_digests
from sftflow.config import load_config
from sftflow.configfile import ConfigFault
from sftflow.digests import files_under
from sftflow.workfolder import hold_folder

HOME = Path(__file__).parents[1]
# folder below results/ -> the wildcard that its entries are named by
PLACES = {
    "sources": "source",
    "datasets": "dataset",
    "templated": "key",
    "hub": "base",
    "runs": "run",
    "models": "model",
    "eval": "model",
    "judged": "judge",
    "people": "sheet",
}


def names_in_use(config: Mapping) -> dict[str, set[str]]:
    """Return folder below results/ -> names of its entries that a config refers to."""
    measured = set(plan.models(config)) | set(config["bases"])
    return {
        "sources": set(config["sources"]),
        "datasets": set(config["datasets"]),
        "templated": set(plan.templated_specs(config)),
        "hub": {name for name, base in config["bases"].items() if base["hub"]},
        "runs": set(config["runs"]),
        "models": measured | set(plan.merged_runs(config)),
        "eval": measured | set(plan.in_context_models(config)),
        "judged": set(config["judges"]),
        "people": set(config["people"]),
    }


def suites_in_use(config: Mapping) -> set[str]:
    """Return the benchmark files below results/ that a config refers to."""
    return {
        f"eval/{model}/benchmark/{suite}{end}"
        for model in plan.models(config)
        for suite in plan.model_suites(config, model)
        for end in (".json", ".samples.jsonl")
    }


def comparisons_in_use(config: Mapping) -> set[str]:
    """Return the comparisons and the gates below results/ that a config refers to."""
    pairs = plan.comparisons(config)
    used = {f"eval/{model}/against/{other}.json" for model, other in pairs}
    return used | ({"gates.json"} if config["gates"]["rules"] else set())


def parts_in_use(config: Mapping) -> set[str]:
    """Return what a source, dataset, run, judge or sheet has only as a config asks for it."""
    used = {f"sources/{name}/made" for name, s in config["sources"].items() if s["make"]}
    used |= {f"people/{name}/ratings.json" for name, s in config["people"].items() if s["filled"]}
    for name in config["judges"]:
        used |= {f"judged/{name}/{pair}" for pair in plan.judged_pairs(config, name)}
    for name in config["datasets"]:
        if plan.training_folder(config, name).endswith("/mixed"):
            used.add(f"datasets/{name}/mixed")
        if plan.embedding_steps(config, name):
            used.add(f"datasets/{name}/map.json")
        if plan.checks_questions(config, name):
            used |= {f"datasets/{name}/contamination{end}" for end in (".json", ".parquet")}
    used |= {f"runs/{name}/preferences.json" for name in plan.preference_runs(config)}
    return used | searches_in_use(config)


def searches_in_use(config: Mapping) -> set[str]:
    """Return what a run has only because its settings are searched."""
    used = set()
    for name in searches.searched_runs(config):
        search, folder = config["runs"][name]["search"], f"runs/{name}"
        used.add(f"{folder}/search.json")
        used |= {f"{folder}/trials/{n + 1}" for n in range(searches.trial_count(search))}
        used |= {f"{folder}/rounds/{n + 1}.json" for n in range(searches.round_count(search))}
    return used


def unused(results: Path, configs: Iterable[Mapping]) -> list[Path]:
    """Return folders and files below ``results`` that no config refers to, sorted."""
    configs = list(configs)
    found = []
    for place in PLACES:
        kept = set().union(*(names_in_use(config)[place] for config in configs))
        folder = results / place
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            if entry.is_dir() and entry.name not in kept and not entry.name.startswith("."):
                found.append(entry)
    parts = (suites_in_use, comparisons_in_use, parts_in_use)
    files = set().union(*(part(config) for config in configs for part in parts))
    optional = (
        "gates.json",
        "eval/*/against/*.json",
        "eval/*/benchmark/*",
        "datasets/*/contamination.*",
        "datasets/*/map.json",
        "datasets/*/mixed",
        "sources/*/made",
        "judged/*/*",
        "people/*/ratings.json",
        "runs/*/preferences.json",
        "runs/*/search.json",
        "runs/*/trials/*",
        "runs/*/rounds/*.json",
    )
    for path in sorted(path for pattern in optional for path in results.glob(pattern)):
        gone = any(path.is_relative_to(folder) for folder in found)
        if not gone and path.relative_to(results).as_posix() not in files:
            found.append(path)
    return found


def traces(results: Path, entries: Iterable[Path]) -> list[Path]:
    """Return the records, logs and durations of jobs whose results are to go.

    And what is kept of the code, to tell what changed in it, for records that go or are gone.
    """
    gone = {(PLACES[e.parent.name], e.name) for e in entries if e.parent.name in PLACES}
    found, told = [], set()
    for record in sorted((results / ".provenance").glob("*/*.json")):
        if record.parent.name == "code":
            continue
        wildcards = dict(pair.split("=", 1) for pair in record.stem.split(",") if "=" in pair)
        name = ".".join(wildcards.values())
        kinds = set(wildcards.items()) | {
            ("model", value) for key, value in wildcards.items() if key in ("run", "base")
        }
        if kinds & gone:
            rule = record.parent.name
            found += [record, results / "logs" / rule / f"{name}.log"]
            found.append(results / "benchmarks" / rule / f"{name}.tsv")
        else:
            told.update(codes_of(record))
    snapshots = sorted((results / ".provenance/code").glob("*.json"))
    found += [path for path in snapshots if path.stem not in told]
    return [path for path in found if path.exists()]


def codes_of(record: Path) -> list[str]:
    """Return the digests of the code that a record names, one or more, [] if it names none."""
    try:
        code = json.loads(record.read_text(encoding="utf-8"))["basis"]["params"]["code"]
    except (ValueError, LookupError, TypeError):
        return []
    return split_digests(code)


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum((path / name).stat().st_size for name in files_under(path))


def remove(path: Path) -> None:
    """Remove a file or a folder; a link goes, not what it points to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def main(argv: list[str] | None = None) -> None:
    """Show what would go, ask, remove."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = [HOME / "config" / "config.yaml"]
    parser.add_argument("--configfile", type=Path, nargs="+", help="(default: config/config.yaml)")
    parser.add_argument("--directory", type=Path, default=Path(), help="holds results/")
    parser.add_argument("--yes", action="store_true", help="remove without asking")
    args = parser.parse_args(argv)
    try:
        configs = [load_config([path], {}) for path in args.configfile or default]
    except ConfigFault as error:
        sys.exit("\n".join(f"config error: {fault}" for fault in error.faults))
    os.chdir(args.directory)
    results = Path("results")
    if not results.is_dir():
        sys.exit(f"there is no results/ in {Path.cwd()}; name its folder with --directory")
    console = Console(highlight=False, soft_wrap=True)
    entries = unused(results, configs)
    if not entries:
        console.print("Every result is referred to.")
        return
    for path in entries:
        console.print(f"{decimal(size_of(path)):>12}  {path}", markup=False)
    total = decimal(sum(map(size_of, entries)))
    if not args.yes and not Confirm.ask(f"Remove these ({total})?", default=False):
        console.print("Nothing was removed.")
        return
    if holder := hold_folder("results/.lock"):
        sys.exit(f"a run ({holder}) is at work in {Path.cwd()}; nothing was removed")
    for path in [*traces(results, entries), *entries]:
        remove(path)
    console.print(f"Removed {len(entries)} entries, {total}.")


if __name__ == "__main__":
    main()
