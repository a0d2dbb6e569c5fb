"""Which bases of a config make or judge its data or answers, and what shares one start of a base.

Pure functions of the checked config. A base that makes or judges data is served by vLLM for that
alone, apart from the server that measures it. The jobs that ask one server run side by side, so
no two of them may rest on each other: sources are parted by how many sources that were made by
bases lie below them, and judges stand apart from sources, those of data from those of answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

JUDGES = "judge"  # the share of all cleanings, none of which rests on another
ANSWERS = "answers"  # the share of all comparisons of answers


def maker(config: dict, source: str) -> str | None:
    """Return the base that makes a source; None if the source is read, or made elsewhere."""
    make = config["sources"][source]["make"]
    served = make is not None and make["endpoint"]["base_url"] is None
    return make["endpoint"]["model"] if served else None


def seeds_below(config: dict, source: str) -> Iterator[str]:
    """Yield the sources that a made source rests on, the nearest first."""
    seen = {source}
    while (make := config["sources"][source]["make"]) is not None:
        source = make["from"]
        if source not in config["sources"] or source in seen:
            return
        seen.add(source)
        yield source


def share(config: dict, source: str) -> str:
    """Return which share of the jobs at a base's servers the making of a source belongs to."""
    return f"made{sum(maker(config, below) is not None for below in seeds_below(config, source))}"


def server_file(base: str, of: str) -> str:
    """Return the file of the server of a base that is started for one share of the jobs."""
    return f"results/generators/{base}/{of}.json"


def source_server(config: dict, source: str) -> str | None:
    """Return the file of the server that a source is made at; None if there is none here."""
    base = maker(config, source)
    return None if base is None else server_file(base, share(config, source))


def judge_server(config: dict, dataset: str) -> str | None:
    """Return the file of the server that judges in a dataset; None if there is none here."""
    bases = served_judges(config["datasets"][dataset]["clean"])
    return server_file(bases[0], JUDGES) if bases else None


def answer_judge(config: dict, judge: str) -> str | None:
    """Return the base that is a judge of answers; None if the judge is elsewhere."""
    endpoint = config["judges"][judge]["endpoint"]
    return endpoint["model"] if endpoint["base_url"] is None else None


def answer_server(config: dict, judge: str) -> str | None:
    """Return the file of the server of a judge of answers; None if there is none here."""
    base = answer_judge(config, judge)
    return None if base is None else server_file(base, ANSWERS)


def served_judges(steps: list[dict[str, Any]]) -> list[str]:
    """Return the bases that judge in these cleaning steps, each once."""
    judges = [s["model"] for s in steps if s["step"] == "judge" and s["base_url"] is None]
    return list(dict.fromkeys(judges))


def served_faults(config: dict, key: str, model: str, api_key_env: str | None) -> Iterator[str]:
    """Yield the faults of a model at ``key`` that this workflow is to serve, as sentences."""
    bases = list(config["bases"])
    if model in config["runs"]:
        yield (
            f"{key}.model: '{model}' is a run, which is trained on data; only a base can make or "
            f"judge data (there are: {', '.join(bases)})"
        )
    elif model not in bases:
        close = difflib.get_close_matches(model, bases, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(bases)}."
        yield (
            f"{key}.model: there is no base '{model}' to be served here; {hint} "
            "A model elsewhere needs base_url"
        )
    if api_key_env is not None:
        yield f"{key}.api_key_env: a base that is served here needs no key; leave it out"
