"""What is told a stage on its command line, however many runs there are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftflow.longspecs import LONGEST, packed, unpacked

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON, st.booleans())
def test_what_is_packed_is_unpacked(value, long):
    value = [value, "x" * LONGEST] if long else value
    told = packed(json.dumps(value))
    assert unpacked(told) == value
    assert told.startswith("zlib:") == (len(json.dumps(value)) > LONGEST)


def test_a_thousand_runs_are_one_argument():
    runs = {f"r.learning_rate-{i}": {"training": {"learning_rate": i / 7}} for i in range(1000)}
    spec = json.dumps({"runs": {name: [run] * 10 for name, run in runs.items()}})
    assert len(spec) > 2**17 > 2 * len(packed(spec))


@pytest.mark.parametrize("text", ["zlib:", "zlib:AAAA", "zlib:!", "{", ""])
def test_what_is_neither_is_refused(text):
    with pytest.raises(ValueError):
        unpacked(text)
