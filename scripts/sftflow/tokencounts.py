"""What templating counted of a dataset's rows: lengths in tokens, and what max_length cuts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def token_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training side of one templated dataset as the pages show it.

    ``bins`` are the lengths before anything was cut; ``over`` are the samples longer than
    ``max_length`` and ``share`` their part of all, null where there are none.
    """
    settings, counts = manifest["settings"], manifest["counts"]["train"]
    bins = counts.get("whole_length_bins", [])
    rows = sum(n for _, n in bins)
    over = counts["overlong"]
    return {
        "base": settings["base"],
        "max_length": settings["max_length"],
        "bins": bins,
        "rows": rows,
        "over": over,
        "truncated": counts["truncated"],
        "share": over / rows if rows else None,
        "tokens": counts["tokens"],
        "trained_tokens": counts["trained_tokens"],
        "length": counts["length"],
        "rejected": sum(counts["rejected"].values()),
    }


def what_is_cut(facts: Mapping[str, Any]) -> str:
    """Say in a sentence how many samples ``max_length`` cuts, and how."""
    limit = f"max_length {facts['max_length']:,}"
    if not facts["rows"]:
        return "No sample."
    if not facts["over"]:
        return f"None of {facts['rows']:,} samples is longer than {limit}."
    dropped = facts["over"] - facts["truncated"]
    done = [f"{facts['truncated']:,} truncated"] if facts["truncated"] else []
    done += [f"{dropped:,} dropped"] if dropped else []
    return (
        f"{facts['over']:,} of {facts['rows']:,} samples ({facts['share']:.1%}) are longer than "
        f"{limit}: {', '.join(done)}."
    )
