"""Groups that sources name: no split parts one, whatever else ties their rows together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split_dataset import SIDES, families, prompt, record, split

import split_dataset
from sftflow.records import RECORD, read_rows, write_table
from sftflow.rowgroups import Groups, groups_across, place_group, united
from sftflow.splitting import split_sides
from sftflow.stage import StageError


def grouped(records, group):
    """Return records, row number i of them in the group that ``group(i)`` names."""
    return [{**r, "group": group(i)} for i, r in enumerate(records)]


def by_side(folder):
    return {s: [*read_rows(folder / f"{s}.parquet")] for s in SIDES}


def tied(numbers, links):
    """Return for each number the smallest that it is tied to, as slowly as it is plain."""
    first = list(numbers)
    for _ in first:
        for one, other in links:
            first[one] = first[other] = min(first[one], first[other])
    return first


@settings(max_examples=60, deadline=None)
@given(
    links=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=15),
    groups=st.lists(st.none() | st.integers(0, 9).map(str), min_size=60, max_size=60),
    seed=st.integers(0, 5),
)
def test_no_group_and_no_near_duplicate_crosses(links, groups, seed):
    """30 prompts of two rows each; links make clusters of prompts, groups tie rows."""
    clusters = np.array(tied(range(30), links))
    named, prompt_of_row = Groups(), np.array([*range(30)] * 2)
    for group in groups:
        named.add(group)
    pieces = united(clusters, prompt_of_row, named.of_row())

    rows = [(row % 30, group) for row, group in enumerate(groups) if group is not None]
    pairs = [(a, b) for a, one in rows for b, other in rows if one == other]
    assert pieces.tolist() == tied(range(30), [*links, *pairs])
    try:
        wanted = {"validation": 6, "test": 0.2, "seed": seed}
        sides = split_sides(pieces[prompt_of_row], wanted)
    except StageError:
        return
    for group in {*groups} - {None}:
        assert len({int(s) for s, g in zip(sides, groups, strict=True) if g == group}) == 1


def test_without_groups_the_pieces_are_those_of_the_prompts():
    clusters = np.array([0, 1, 0])
    named = Groups()
    for _ in range(3):
        named.add(None)
    assert len(named) == 0
    assert united(clusters, np.arange(3), named.of_row()).tolist() == [0, 1, 0]


def test_a_group_stays_together_in_every_source(tmp_path):
    rows = [record(i, prompt(i), "one" if i % 2 else "two") for i in range(1, 201)]
    _, manifest = split(tmp_path, grouped(rows, lambda i: f"客户{i % 40}" if i < 160 else None))
    sides = by_side(tmp_path)
    side_of = {}
    for side, found in sides.items():
        for row in found:
            if row["group"]:
                assert side_of.setdefault(row["group"], side) == side
    assert set(side_of.values()) == set(SIDES)
    assert sum(map(len, sides.values())) == 200
    assert manifest["checks"]["groups_across"] == {"n": 0, "groups": 40}
    assert manifest["counts"]["largest_group"] == 4
    assert manifest["counts"]["groups"] == 40 + 40  # and 40 rows by themselves


def test_groups_and_near_duplicates_hold_together(tmp_path):
    """Rows i, i + 40, i + 80 begin nearly alike; groups join i and i + 1: pieces of 6 rows."""
    rows = families(40)
    _, manifest = split(tmp_path, grouped(rows, lambda i: str(i // 2) if i < 40 else None))
    counts = manifest["counts"]
    assert (counts["prompts"], counts["groups"], counts["largest_group"]) == (120, 20, 6)
    assert {name: check["n"] for name, check in manifest["checks"].items()} == {
        "near_duplicates_across": 0,
        "groups_across": 0,
    }


def test_groups_alone_hold_where_near_duplicates_are_off(tmp_path):
    rows = grouped(families(40), lambda i: str(i % 40))
    _, manifest = split(tmp_path, rows, near_duplicates=None)
    assert manifest["checks"]["groups_across"] == {"n": 0, "groups": 40}
    assert manifest["checks"]["near_duplicates_across"]["n"] == 0


def test_rows_without_groups_are_split_as_before(tmp_path):
    (tmp_path / "b").mkdir()
    without, manifest = split(tmp_path, families(40))
    alone, _ = split(tmp_path / "b", grouped(families(40), lambda i: f"g{i % 40}"))
    assert without == alone  # groups that say what the prompts say move nothing
    assert manifest["checks"]["groups_across"] == {"n": 0, "groups": 0}


def test_the_check_sees_a_planted_leak(tmp_path):
    """It looks at the files alone: here they were not made by the split."""
    paths = {side: tmp_path / f"{side}.parquet" for side in SIDES}
    for number, side in enumerate(SIDES):
        rows = [record(i, prompt(i)) for i in range(4)]
        names = ["everywhere", f"own {number}", None, "two" if number < 2 else None]
        write_table(paths[side], grouped(rows, names.__getitem__), RECORD)
    assert groups_across(paths) == {"n": 2, "groups": 5}


def test_a_split_that_parts_a_group_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("sftflow.promptgroups.united", lambda clusters, *_: clusters)
    rows = [record(i, prompt(i)) for i in range(100)]
    with pytest.raises(StageError, match=r"4 of 4 groups stand on two sides of the split"):
        split(tmp_path, grouped(rows, lambda i: str(i % 4)))
    assert not (tmp_path / "manifest.json").exists()


def test_groups_too_large_to_split_are_said(tmp_path):
    rows = [record(i, prompt(i)) for i in range(100)]
    said = "share 2 prompts or groups.*50 of the 100 rows stay together.*finer column as columns"
    with pytest.raises(StageError, match=said):
        split(tmp_path, grouped(rows, lambda i: str(i % 2)))


@pytest.mark.parametrize("near", [None, 0.8])
def test_what_can_be_changed_is_named(tmp_path, near):
    rows = grouped([record(i, prompt(i)) for i in range(100)], lambda _: "one")
    with pytest.raises(StageError) as caught:
        split(tmp_path, rows, near_duplicates=near)
    assert ("raise split.near_duplicates" in str(caught.value)) == (near is not None)


def test_stratified_by_tag(tmp_path):
    tags = [["a", "b"]] * 60 + [["b", "a"]] * 30 + [None] * 10
    rows = [{**record(i, prompt(i)), "tags": of} for i, of in enumerate(tags)]
    split(tmp_path, rows, stratify="tag")
    first = {s: [(r["tags"] or ["-"])[0] for r in rows] for s, rows in by_side(tmp_path).items()}
    counted = {side: [names.count(n) for n in ("a", "b", "-")] for side, names in first.items()}
    assert counted == {"test": [12, 6, 2], "validation": [6, 3, 1], "train": [42, 21, 7]}


def test_tags_that_no_row_has_are_said(tmp_path, monkeypatch):
    lines = []
    told = type("Console", (), {"say": staticmethod(lines.append)})
    monkeypatch.setattr(split_dataset, "console", lambda: told)
    rows = [record(i, prompt(i)) for i in range(100)]
    sides, _ = split(tmp_path, rows, stratify="tag")
    assert "d: warning: no row has a tag" in lines[0]
    assert sides == split(tmp_path, rows)[0]


def test_what_was_made_of_a_row_stays_with_it(tmp_path):
    """Every second row was made from the one before it, in quite other words."""
    rows = families(120, 1)
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    made = [r for one, other in pairs for r in (one, {**other, "group": place_group(one)})]
    _, manifest = split(tmp_path, made)
    side_of = {row["id"]: side for side, found in by_side(tmp_path).items() for row in found}
    assert all(side_of[one["id"]] == side_of[other["id"]] for one, other in pairs)
    assert manifest["checks"]["groups_across"] == {"n": 0, "groups": 60}
    paths = {side: tmp_path / f"{side}.parquet" for side in SIDES}
    parent = next(one for one, _ in pairs if side_of[one["id"]] == "test")
    rest = [row for row in read_rows(paths["test"]) if row["id"] != parent["id"]]
    write_table(paths["test"], rest, RECORD)
    write_table(paths["train"], [*read_rows(paths["train"]), parent], RECORD)
    assert groups_across(paths)["n"] == 1
