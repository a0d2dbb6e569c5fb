"""The map of a dataset's prompts: a fair draw, the same every time, near what is alike."""

import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps_fixture import talk

from sftflow import embeddingmap
from sftflow.datacharts import scatter
from sftflow.embeddingmap import FEWEST, placed, sampled
from sftflow.plots import TUNED_COLORS


def rows(count):
    return [
        {**talk(f"question {i}", "answer"), "id": f"{i * 7919 % 10007:05d}"} for i in range(count)
    ]


@given(st.permutations(range(30)))
@settings(max_examples=20)
def test_the_draw_does_not_depend_on_the_order(order):
    made = rows(30)
    assert sampled(made[i] for i in order) == sampled(made)


def test_no_more_are_drawn_than_a_picture_shows(monkeypatch):
    monkeypatch.setattr(embeddingmap, "MOST", 5)
    assert [name for name, _, _ in sampled(rows(40))] == sorted(r["id"] for r in rows(40))[:5]


def test_what_is_alike_lies_together():
    draw = np.random.default_rng(0)
    middles = np.eye(8)[:3]
    vectors = np.repeat(middles, 20, axis=0) + draw.normal(scale=0.01, size=(60, 8))
    places = placed(vectors.astype(np.float32))
    assert np.abs(places).max() <= 1
    groups = places.reshape(3, 20, 2)
    within = max(np.ptp(group, axis=0).max() for group in groups)
    between = min(
        np.linalg.norm(a.mean(axis=0) - b.mean(axis=0))
        for i, a in enumerate(groups)
        for b in groups[i + 1 :]
    )
    assert between > within
    assert (places == placed(vectors.astype(np.float32))).all()


def test_too_few_are_no_map():
    with pytest.raises(ValueError, match=f"takes {FEWEST}"):
        placed(np.ones((30, 4), dtype=np.float32))
    assert scatter([], []) is None


def test_the_picture_has_a_colour_for_each_source():
    points = [[f"{i}", "abc"[i % 3], i / 30, -i / 30] for i in range(30)]
    kind, _, text = scatter(points, ["a", "b", "c"]).partition(",")
    drawn = base64.b64decode(text).decode()
    assert kind == "data:image/svg+xml;base64"
    for color in TUNED_COLORS[:3]:
        assert drawn.count(f'fill="{color}"') >= 10
    assert TUNED_COLORS[3] not in drawn
