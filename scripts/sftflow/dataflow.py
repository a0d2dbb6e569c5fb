"""Where the rows of a dataset went: from raw to training rows, in all and by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, BAND, STEP = 300, 16, 46  # the drawn funnel: widest band, its height, from band to band
SIDES = ("validation", "test")


def funnel(
    sources: Mapping[str, Mapping[str, Any]],
    cleaned: Mapping[str, Any],
    split: Mapping[str, Any],
    mixed: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the levels from raw rows to training rows: {label, rows, lost, reasons}.

    The arguments are the counts of manifests: by source, of cleaning, split and, if there is one,
    mix. Rows that a mix repeats count once more each.
    """
    raw = sum(counts["rows_in"] for counts in sources.values())
    read: Counter[str] = Counter()
    for counts in sources.values():
        read.update(counts["rejected"])
    kept = sum(counts["kept"] for counts in sources.values())
    levels = [
        _level("raw rows", raw, {}, raw),
        _level("read as conversations", kept, read, raw),
    ]
    for step in cleaned["steps"]:
        levels.append(_level(step["step"], step["rows_out"], step["rejected"], raw))
        levels[-1]["changed"] = step["changed"]
    aside = {side: split[side] for side in SIDES if split[side]}
    left_out = levels[-1]["rows"] - split["train"] - sum(aside.values())
    if left_out > 0:
        aside["not drawn"] = left_out
    levels.append(_level("training rows", split["train"], aside, raw))
    levels[-1]["set_aside"] = True
    if mixed is not None:
        gone = Counter({key.rpartition("/")[2]: n for key, n in mixed["rejected"].items()})
        gone["left out of the mix"] = mixed["left_out"]
        levels.append(_level("rows in the mix", mixed["rows"], +gone, raw))
        levels[-1]["repeated"] = sum(counts["repeated"] for counts in mixed["sources"].values())
    return levels


def _level(label: str, rows: int, reasons: Mapping[str, int], raw: int) -> dict[str, Any]:
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    return {
        "label": label,
        "rows": rows,
        "lost": sum(reasons.values()),
        "reasons": ranked,
        "share": rows / raw if raw else None,
        "changed": 0,
        "repeated": 0,
        "set_aside": False,
    }


def drawing(levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the funnel as shapes: a band per level, the flow to the next one, and what left it.

    Units are those of the drawing's viewBox. ``lost`` is the part of the flow that leaves, on
    its right side.
    """
    most = max((level["rows"] for level in levels), default=0) or 1
    bands, top = [], 4
    for level, below in zip(levels, [*levels[1:], None], strict=True):
        wide = max(1.0, round(WIDTH * level["rows"] / most, 1))
        band = {"y": top, "width": wide, "label": level["label"], "rows": level["rows"]}
        band |= {"flow": None, "lost": None, "away": None}
        if below is not None:
            next_wide = min(wide, max(1.0, round(WIDTH * below["rows"] / most, 1)))
            y, end = top + BAND, top + STEP
            band["flow"] = f"0,{y} {next_wide},{y} {next_wide},{end} 0,{end}"
            if below["lost"]:
                # What leaves bends away to the right and thins out: it goes nowhere on this page.
                edge = max(wide, next_wide + 1.5)
                band["lost"] = (
                    f"M{next_wide},{y} L{edge},{y} Q{edge},{y + 18} {edge + 24},{y + 20} "
                    f"Q{next_wide},{y + 22} {next_wide},{y} Z"
                )
                band["away"] = {"x": edge + 30, "y": y + 24, **below}
        bands.append(band)
        top += STEP
    return {"bands": bands, "height": top - STEP + BAND + 8, "band": BAND}


def by_source(
    sources: Mapping[str, Mapping[str, Any]],
    rejected: Mapping[str, int],
    split: Mapping[str, int],
    mixed: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return each source's rows: raw, read, cleaned, in the training part, trained on, and share.

    ``rejected`` counts by source what cleaning removed, ``split`` the rows of the training part,
    ``mixed`` are the counts of the mix, None without one.
    """
    trained = split
    if mixed is not None:
        trained = {name: of["rows"] for name, of in mixed["sources"].items()}
    total = sum(trained.values())
    return [
        {
            "name": name,
            "raw": counts["rows_in"],
            "read": counts["kept"],
            "cleaned": counts["kept"] - rejected.get(name, 0),
            "split": split.get(name, 0),
            "trained": trained.get(name, 0),
            "share": trained.get(name, 0) / total if total else None,
            "formats": counts["formats"],
            "warnings": counts["warnings"],
        }
        for name, counts in sources.items()
    ]
