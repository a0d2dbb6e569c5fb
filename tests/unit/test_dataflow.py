from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sftflow.dataflow import WIDTH, by_source, drawing, funnel


def levels(*rows):
    cleaned = {
        "steps": [
            {
                "step": f"s{i}",
                "rows_out": b,
                "changed": 0,
                "rejected": {"x": a - b} if a > b else {},
            }
            for i, (a, b) in enumerate(pairwise(rows))
        ]
    }
    source = {"a": {"rows_in": rows[0], "kept": rows[0], "rejected": {}}}
    return funnel(source, cleaned, {"train": rows[-1], "validation": 0, "test": 0})


def test_rows_that_the_split_did_not_take_are_not_lost_from_sight():
    cleaned = {"steps": []}
    source = {"a": {"rows_in": 10, "kept": 10, "rejected": {}}}
    last = funnel(source, cleaned, {"train": 5, "validation": 2, "test": 0})[-1]
    assert last["reasons"] == [("not drawn", 3), ("validation", 2)]


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=8).map(lambda n: sorted(n)[::-1]))
def test_bands_are_as_wide_as_their_rows(rows):
    drawn = drawing(levels(*rows))["bands"]
    for band in drawn:
        assert 1 <= band["width"] <= WIDTH
        assert abs(band["width"] - WIDTH * band["rows"] / max(rows[0], 1)) <= 1
    assert [band["y"] for band in drawn] == sorted(band["y"] for band in drawn)


def test_what_leaves_is_drawn_where_it_leaves():
    # levels: raw 100, read 100, s0 40, training 40
    away = [band["away"] and band["away"]["lost"] for band in drawing(levels(100, 40))["bands"]]
    assert away == [None, 60, None, None]


def test_rows_by_source():
    counts = {"rows_in": 10, "kept": 8, "formats": {}, "warnings": {}}
    sources, split = {"a": counts, "b": counts}, {"a": 4, "b": 4}
    one, two = by_source(sources, {"a": 3}, split)
    assert (one["raw"], one["read"], one["cleaned"], one["trained"], one["share"]) == (
        10,
        8,
        5,
        4,
        0.5,
    )
    assert two["cleaned"] == 8
    mixed = {"sources": {"a": {"rows": 9}, "b": {"rows": 3}}}
    found = by_source(sources, {"a": 3}, split, mixed)
    assert [(s["split"], s["trained"], s["share"]) for s in found] == [(4, 9, 0.75), (4, 3, 0.25)]
