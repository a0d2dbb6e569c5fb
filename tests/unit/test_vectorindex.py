"""The search among vectors: the same as comparing each with each, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow import vectorindex
from sftflow.vectorindex import MOST, VectorIndex

# Far enough apart for float16, which is coarse in two dimensions.
ANGLES = st.lists(st.integers(0, 36).map(lambda n: 5 * n), max_size=30)


def on_a_circle(texts):
    """A text is the angles of its pieces, in degrees: their difference is the similarity."""
    angles = [np.radians([float(angle) for angle in text.split("/")]) for text in texts]
    return [np.stack([np.cos(a), np.sin(a)], axis=1).astype(np.float32) for a in angles]


def leaders(folder, texts, threshold, contexts=None):
    with VectorIndex(folder, on_a_circle, threshold) as index:
        for number, text in enumerate(texts):
            index.add(text.split("+"), contexts[number] if contexts else 0)
        return list(index.leaders())


def by_hand(angles, threshold):
    """Return for each angle the nearest of those that stay, by comparing with all of them."""
    kept, found = [], []
    for number, angle in enumerate(angles):
        near = [(-min(MOST, np.cos(np.radians(angle - angles[k]))), k) for k in kept]
        if angle in angles[:number]:
            found.append(found[angles.index(angle)])
        elif near and -min(near)[0] >= threshold:
            found.append(min(near, key=lambda pair: (round(pair[0], 3), pair[1]))[1])
        else:
            found.append(number)
            kept.append(number)
    return found


@given(ANGLES, st.sampled_from([1, 3, 1000]), st.sampled_from([2, 1000]))
@settings(max_examples=60, deadline=None)
def test_blocks_change_nothing(tmp_path_factory, angles, rows, columns):
    folder = tmp_path_factory.getbasetemp()
    threshold = np.cos(np.radians(12.5))  # 10 degrees are near, 15 are not
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectorindex, "BLOCK", rows)
        patch.setattr(vectorindex, "LEADERS", columns)
        patch.setattr(vectorindex, "BATCH_TEXTS", rows + 1)
        found = leaders(folder, [str(angle) for angle in angles], threshold)
    wanted = by_hand(angles, threshold)
    assert [number == leader for number, (leader, _) in enumerate(found)] == [
        number == leader for number, leader in enumerate(wanted)
    ]
    for number, (leader, alike) in enumerate(found):
        distance = abs(angles[number] - angles[leader])
        assert abs(angles[number] - angles[wanted[number]]) == distance <= 10
        assert alike == (
            1.0 if distance == 0 else pytest.approx(np.cos(np.radians(distance)), abs=1e-3)
        )


def test_texts_of_several_pieces_are_as_alike_as_their_worst(tmp_path):
    found = leaders(tmp_path, ["0/0", "0/90", "0/5", "0", "0/0/0", "3/0", "0+0"], 0.99)
    assert [leader for leader, _ in found] == [0, 1, 0, 3, 4, 0, 6]
    assert found[2][1] == pytest.approx(np.cos(np.radians(5)), abs=1e-3)


def test_contexts_are_apart_and_blank_texts_resemble_nothing(tmp_path):
    texts = ["0", "0", "1", " ", " ", "0"]
    found = leaders(tmp_path, texts, 0.9, [1, 2, 2, 1, 1, 1])
    assert [leader for leader, _ in found] == [0, 1, 1, 3, 4, 0]


def test_only_equal_texts_are_the_same(tmp_path):
    assert leaders(tmp_path, ["7", "07", " 7 "], 1.0) == [(0, 1.0), (1, 1.0), (0, 1.0)]
    assert leaders(tmp_path, ["7", "07"], 0.9999)[1] == (0, pytest.approx(MOST))


def test_nothing(tmp_path):
    assert leaders(tmp_path, [], 0.9) == []
    assert list(tmp_path.iterdir()) == []
