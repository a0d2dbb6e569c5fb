"""Which rows have changed, told from places and contents."""

from hypothesis import given
from hypothesis import strategies as st

from sftflow.rowchanges import content_of, row_changes


def rows(text: str) -> dict:
    return {("a.jsonl", number): letter for number, letter in enumerate(text, 1)}


def test_changed_new_and_gone():
    assert row_changes(rows("abc"), rows("axc")) == ["1 row changed (a.jsonl:2)"]
    assert row_changes(rows("abc"), rows("abcd")) == ["1 row new (a.jsonl:4)"]
    assert row_changes(rows("abc"), rows("bc")) == ["1 row gone (a.jsonl:1)"]
    assert row_changes(rows("abc"), rows("xabc")) == ["1 row new (a.jsonl:1)"]


def test_a_copy_at_the_end_is_new_there():
    assert row_changes(rows("abc"), rows("abca")) == ["1 row new (a.jsonl:4)"]


def test_another_order():
    assert row_changes(rows("abc"), rows("bac")) == ["the rows are the same in another order"]


def test_many_are_counted():
    assert row_changes({}, rows("abcdefgh")) == [
        "8 rows new (a.jsonl:1, a.jsonl:2, a.jsonl:3, a.jsonl:4, a.jsonl:5 and 3 more)"
    ]


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_silent_exactly_if_equal(then, now):
    assert bool(row_changes(rows(then), rows(now))) == (then != now)


def test_a_row_of_another_group_has_changed():
    row = {"id": "a", "group": None, "tags": None}
    contents = [row, {**row, "group": "g"}, {**row, "tags": ["t"]}, {**row, "tags": ["u"]}]
    assert len({content_of(one) for one in contents}) == 4
    assert content_of(row) == content_of({"id": "a"}) == "a"
