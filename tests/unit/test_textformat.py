"""One form for answers: JSON, markdown, white space, quotes."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps_fixture import answers, run_step, talk

from sftflow.stage import StageError
from sftflow.textformat import markdown_stripper, restyled_json, single_spaced, straight_quotes

ODD = '{"a" : [1.50, 1e3,\n{}], "b":"x, \\u00e9 : \\" }", "c": [ ]}'


def test_json_in_three_styles():
    compact = '{"a":[1.50,1e3,{}],"b":"x, \\u00e9 : \\" }","c":[]}'
    assert restyled_json(ODD, "compact") == compact
    assert (
        restyled_json(ODD, "spaced") == '{"a": [1.50, 1e3, {}], "b": "x, \\u00e9 : \\" }", "c": []}'
    )
    assert restyled_json(ODD, "indented") == (
        '{\n  "a": [\n    1.50,\n    1e3,\n    {}\n  ],\n  "b": "x, \\u00e9 : \\" }",\n  "c": []\n}'
    )
    for text in ("{'a': 1}", '{"a": NaN}', '{"a": 1} yes', '"text"', "12", "[" * 9999, ""):
        assert restyled_json(text, "compact") == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["compact", "spaced", "indented"]))
@settings(max_examples=60, deadline=None)
def test_json_says_the_same_in_every_style_and_as_python_writes_it(value, style):
    options = {
        "compact": {"separators": (",", ":")}, "spaced": {}, "indented": {"indent": 2},
    }[style]  # fmt: skip
    text = json.dumps([value], ensure_ascii=False, indent=1)
    styled = restyled_json(text, style)
    assert styled == json.dumps([value], ensure_ascii=False, **options)
    assert restyled_json(styled, style) == styled


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("# Title\n\nSome **bold** *it* [link](http://x.org).", "Title\n\nSome bold it link."),
        ("- **one**: 1\n- __two__\n  1. *three*", "- one: 1\n- two\n  1. three"),
        ("Title\n=====\ntext", "Title\ntext"),
        ("```\n# **kept**\n```\n`**kept**`", None),
        ("2*3*4 = 24, 6*2.5=15 and 9*500=4500", None),
        ("snake_case_name and a * b * c", None),
        ("$a_1 * b_2 * c$ and \\(x*y*z\\)", None),
        ("72\n#### 72", None),  # GSM8K's mark of the answer
        ("| a | b |\n|---|---|\n| 1 | 2 |", None),
        ("> quoted\n\n* item", None),
        ("AT&amp;T \\* x", None),
        ("\r# a\r\r**b**", None),
    ],
)
def test_markdown(text, wanted):
    assert markdown_stripper()(text) == (text if wanted is None else wanted)


def test_white_space_and_quotes():
    assert (
        single_spaced("a  b \n\n\n\n  c   d\n```\nx   =  1\n```")
        == "a b\n\n  c d\n```\nx   =  1\n```"
    )
    assert straight_quotes("“It’s” `“x”`") == '"It\'s" `“x”`'
    assert straight_quotes("他说“好”") == "他说“好”"


def test_only_what_is_asked_for(tmp_path):
    pairs = [talk("**q**  “x”", "**a**  “b”", 1), talk("q", '{"x":  "**a**  “b”"}', 2)]
    kept, _, books = run_step(tmp_path, {"step": "format"}, pairs)
    assert (kept, books.changed) == (pairs, 0)
    step = {"step": "format", "json_style": "spaced", "markdown": "strip", "quotes": "straight"}
    kept, _, books = run_step(tmp_path, {**step, "white_space": "single"}, pairs)
    assert answers(kept) == ['a "b"', '{"x": "**a**  “b”"}']
    assert kept[0]["messages"][0] == pairs[0]["messages"][0]
    assert {kind: entry["rows"] for kind, entry in books.found.items()} == {
        "json": 1, "markdown": 1, "white_space": 1, "quotes": 1,
    }  # fmt: skip
    with pytest.raises(StageError, match="json_style is 'pretty'; expected one of keep, compact"):
        run_step(tmp_path, {"step": "format", "json_style": "pretty"}, pairs)
