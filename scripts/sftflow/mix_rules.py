"""What a schema can't say about mix and decontamination: sentences, [] if all is well."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from sftflow.plan import dataset_suites, drops_questions

WAYS = ("times", "rows", "ratio")


def mix_faults(config: dict) -> Iterator[str]:
    """Yield the faults of the mixes: unknown sources, no way or several, nothing to refer to."""
    for name, dataset in config["datasets"].items():
        key, mix = f"datasets.{name}.mix", dataset["mix"]
        for source, share in mix.items():
            if source not in dataset["sources"]:
                yield _unknown(key, source, dataset["sources"])
            given = [way for way in WAYS if share[way] is not None]
            if len(given) != 1:
                what = " and ".join(given) or "none of them"
                yield f"{key}.{source}: must have one of times, rows and ratio; it has {what}"
        others = [s for s in dataset["sources"] if s not in mix or mix[s]["ratio"] is None]
        if mix and not others:
            yield (
                f"{key}: every source has a ratio, so there is nothing that they refer to; leave "
                "one out of mix (it goes in whole) or give it times or rows"
            )


def _unknown(key: str, source: str, known: list[str]) -> str:
    close = difflib.get_close_matches(str(source), known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(known)}"
    return f"{key}.{source}: is no source of this dataset; {hint}"


def decontamination_faults(config: dict) -> Iterator[str]:
    """Yield a sentence for each dataset that would drop questions and has none to compare with."""
    for name in config["datasets"]:
        if drops_questions(config, name) and not dataset_suites(config, name):
            yield (
                f"datasets.{name}.decontaminate.action: is drop, but no run on this dataset has "
                "suites, so there are no questions to look for; name suites in its runs"
            )
