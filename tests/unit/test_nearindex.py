"""Near duplicates: all that brute force finds near, nothing that it doesn't."""

import random

import pytest

from sftflow.minhash import MISSED, bands
from sftflow.nearindex import NearIndex


def triples(text):
    words = text.split()
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


def similarity(one, other):
    a, b = triples(one), triples(other)
    return len(a & b) / len(a | b)


def family(rng, words=60, most=8):
    """Return a text and a copy with up to ``most`` words replaced."""
    text = [f"w{rng.randrange(5000)}" for _ in range(words)]
    copy = list(text)
    for place in rng.sample(range(words), rng.randint(1, most)):
        copy[place] = f"n{rng.randrange(5000)}"
    return " ".join(text), " ".join(copy)


def index_of(folder, texts, **more):
    index = NearIndex(folder, **{"threshold": 0.8, "ngram": 3, **more})
    for text in texts:
        index.add(text)
    return index


def test_planted_pairs_are_found_and_no_others(tmp_path):
    rng = random.Random(5)
    pairs = [family(rng) for _ in range(1500)]
    texts = [one for one, _ in pairs] + [other for _, other in pairs]
    with index_of(tmp_path, texts) as index:
        leaders = list(index.leaders())
    near = {i for i, pair in enumerate(pairs) if similarity(*pair) >= 0.8}
    assert 300 < len(near) < 1200
    got = {i for i in range(1500) if leaders[1500 + i][0] == i}
    assert len(got & near) >= 0.99 * len(near)  # bands(0.8, 128) miss 1 in 500 at 0.8 itself
    assert got <= near  # exact: no pair below the threshold
    for i in got:
        assert leaders[1500 + i][1] == pytest.approx(similarity(*pairs[i]))
    assert all(leaders[i] == (i, 1.0) for i in range(1500))


def test_a_leader_resembles_no_leader(tmp_path):
    # b is near a, c near b but not near a: c stays, since what it is like has gone.
    words = [f"w{i}" for i in range(60)]
    a, b, c = list(words), list(words), list(words)
    b[10] = "x"
    c[10], c[30], c[50] = "x", "y", "z"
    texts = [" ".join(text) for text in (a, b, c)]
    assert similarity(texts[0], texts[1]) >= 0.8 > similarity(texts[0], texts[2])
    assert similarity(texts[1], texts[2]) >= 0.7
    with index_of(tmp_path, texts, threshold=0.78) as index:
        assert [leader for leader, _ in index.leaders()] == [0, 0, 2]
        assert index.clusters() == [0, 0, 0]  # by way of b


def test_the_closest_leader_is_named(tmp_path):
    words = [f"w{i}" for i in range(80)]
    far, copy = list(words), list(words)
    far[5] = far[40] = far[70] = "x"
    copy[5] = copy[40] = "x"
    copy[70] = "y"
    with index_of(tmp_path, [" ".join(t) for t in (words, far, copy)], threshold=0.8) as index:
        assert [leader for leader, _ in index.leaders()] == [0, 1, 1]


def test_texts_without_tokens_resemble_nothing(tmp_path):
    with index_of(tmp_path, ["", "...", "", "one two three four", "!?"]) as index:
        assert [leader for leader, _ in index.leaders()] == [0, 1, 2, 3, 4]
        assert index.clusters() == [0, 1, 2, 3, 4]


def test_no_text_at_all(tmp_path):
    with index_of(tmp_path, []) as index:
        assert list(index.leaders()) == index.clusters() == []


def test_chinese_and_thai(tmp_path):
    chinese = "机器学习是人工智能的一个重要分支,它让计算机从数据中学习规律并做出预测而无需明确编程"
    thai = "การเรียนรู้ของเครื่องเป็นสาขาหนึ่งของปัญญาประดิษฐ์ที่สำคัญมากในปัจจุบัน"
    texts = [chinese, thai, chinese.replace("重要", "主要"), thai + "นี้", chinese[::-1]]
    with index_of(tmp_path, texts, threshold=0.75) as index:
        assert [leader for leader, _ in index.leaders()] == [0, 1, 0, 1, 4]


def test_thousands_of_equal_texts_are_one_cluster(tmp_path):
    with index_of(
        tmp_path, ["the very same words again"] * 2000 + ["other words are here"]
    ) as index:
        assert index.clusters() == [0] * 2000 + [2000]
        assert index.crowded > 0  # said, since only a part was compared


def test_resembling_looks_only_at_the_known(tmp_path):
    texts = ["a b c d e", "f g h i j", "k l m n o", "k l m n o", "f g h i j"]
    with index_of(tmp_path, texts) as index:
        assert list(index.resembling(2)) == [(4, 1, 1.0)]


def test_nothing_stays_behind(tmp_path):
    with index_of(tmp_path, ["a b c"]) as index:
        list(index.leaders())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("num_perm", [64, 128, 256])
def test_bands_miss_few(threshold, num_perm):
    b, r = bands(threshold, num_perm)
    assert b * r <= num_perm
    assert (1 - threshold**r) ** b <= MISSED
    longer = num_perm // (r + 1)
    assert r == num_perm or (1 - threshold ** (r + 1)) ** longer > MISSED  # none longer would do
