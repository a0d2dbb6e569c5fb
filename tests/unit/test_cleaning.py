"""Cleaning steps, one by one and in a row."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.cleaning import STEPS, cleaned, normalized_text, text_without_html
from sftflow.prompts import normalized, prompt_key
from sftflow.records import message
from sftflow.stage import StageError


def record(prompt, answer, row=1, **more):
    turns = [message("user", prompt), message("assistant", answer)]
    return {
        "id": "",
        "source": "s",
        "file": "f",
        "row": row,
        "messages": turns,
        "tools": None,
        **more,
    }


def run(tmp_path, steps, pairs):
    """Return (answers that stay as (prompt, answer), reasons of the others, books)."""
    gone = []
    records = [record(prompt, answer, row) for row, (prompt, answer) in enumerate(pairs, 1)]

    def refuse(_step, gone_record, reason, _detail):
        gone.append((gone_record["row"], reason))

    stream, books = cleaned(iter(records), steps, tmp_path, refuse)
    kept = [tuple(m["content"] for m in r["messages"]) for r in stream]
    assert len(kept) + len(gone) == len(pairs)
    return kept, gone, books


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("cafe\u0301", "café"),
        ("cafe\x07\u0301", "café"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("bell\x07\x00", "bell"),
        ("  line  \n\tindented\n", "line\n\tindented"),
        ("a" + "\n" * 9 + "b", "a\n\n\nb"),
        ("👩\u200d👩\u200d👧 می\u200cخواهم", "👩\u200d👩\u200d👧 می\u200cخواهم"),
        ("Ａ　１", "Ａ　１"),  # NFC and not NFKC: the text itself keeps its width
    ],
)
def test_normalized_text(raw, wanted):
    assert normalized_text(raw) == wanted


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_normalizing_twice_changes_nothing(text):
    assert normalized_text(normalized_text(text)) == normalized_text(text)
    assert normalized(normalized(text)) == normalized(text)


def test_blank_after_normalizing_is_rejected(tmp_path):
    kept, gone, books = run(tmp_path, [{"step": "normalize_text"}], [("\u200b", "a"), ("q ", "a")])
    assert kept == [("q", "a")]
    assert gone == [(1, "blank_user")]
    assert (books[0].rows_in, books[0].rows_out, books[0].changed) == (2, 1, 1)


def test_mojibake_is_mended_only_if_asked(tmp_path):
    broken = ["café", "naïve – “quoted”", "你好，世界", "Größe"]
    broken = [text.encode().decode("cp1252", "ignore") for text in broken]
    pairs = [(broken[0], "fine"), (broken[3], "fine")]
    kept, _, books = run(tmp_path, [{"step": "normalize_text"}], pairs)
    assert kept == pairs
    kept, _, books = run(tmp_path, [{"step": "normalize_text", "fix_mojibake": True}], pairs)
    assert kept == [("café", "fine"), ("Größe", "fine")]
    assert books[0].changed == 2
    assert books[0].packages == {"ftfy"}


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("<p>One</p><p>Two &amp; three</p>", "One\nTwo & three\n"),
        ("a<br/>b<span class='x'>c</span>", "a\nbc"),
        ("<script>alert(1)</script>text", "text"),
        ("if a < b and c > d: x<y", "if a < b and c > d: x<y"),
        (
            "use `<p>` and\n```html\n<div>&amp;</div>\n```",
            "use `<p>` and\n```html\n<div>&amp;</div>\n```",
        ),
        ("List<String> and <think>", "List<String> and <think>"),
        ("&lt;b&gt; stays text", "<b> stays text"),
        ("<tr><td>1</td><td>2</td></tr><!-- note -->", "1\t2\n"),
        # What html.parser and BeautifulSoup lose: docs/data.md
        ("for i<n; i>0; map<string, int> m; #include <math.h>", None),
        ("AT&T, R&D, <name> <me@example.org> x<y and y>z", None),
    ],
)
def test_text_without_html(raw, wanted):
    assert text_without_html(raw) == (raw if wanted is None else wanted)


def test_length_counts_characters(tmp_path):
    step = {"step": "length", "min_prompt_chars": 3, "min_answer_chars": 2, "max_answer_chars": 4}
    pairs = [("abc", "ab"), ("ab", "ab"), ("abc", "a"), ("abc", "abcde"), ("数据库", "很好")]
    kept, gone, _ = run(tmp_path, [step], pairs)
    assert kept == [pairs[0], pairs[4]]
    assert gone == [(2, "short_prompt"), (3, "short_answer"), (4, "long_answer")]


def test_duplicates_in_any_script(tmp_path):
    pairs = [
        ("How are you?", "Fine."),
        ("how  are\nyou?", "FINE."),
        ("你好，世界", "很好"),
        ("你好,世界", "很好"),  # NFKC makes the full-width comma a comma
        ("ﾃｽﾄ", "はい"),
        ("テスト", "はい"),
        ("STRASSE", "x"),
        ("straße", "x"),
        ("How are you?", "Bad."),
    ]
    kept, gone, _ = run(tmp_path, [{"step": "exact_duplicates"}], pairs)
    assert gone == [(2, "duplicate"), (4, "duplicate"), (6, "duplicate"), (8, "duplicate")]
    assert kept[-1] == ("How are you?", "Bad.")


@pytest.mark.parametrize(
    ("keep", "rows"),
    [("none", [6, 7]), ("first", [1, 3, 4, 6, 7]), ("majority", [1, 3, 6, 7])],
)
def test_conflicts(tmp_path, keep, rows):
    # Prompt q: yes, no, yes -> majority yes. Prompt t: x, y -> a tie, which nobody wins.
    pairs = [
        ("q", "yes"),
        ("Q", "no"),
        ("q", "Yes"),
        ("t", "x"),
        ("t", "y"),
        ("u", "z"),
        ("u", "z"),
    ]
    _, gone, books = run(tmp_path, [{"step": "conflicts", "keep": keep}], pairs)
    assert sorted(set(range(1, 8)) - {row for row, _ in gone}) == rows
    assert {reason for _, reason in gone} == {"conflict"}
    assert books[0].rows_out == len(rows)
    assert list(tmp_path.iterdir()) == []  # the spool file is gone


def test_a_conflict_needs_the_same_context(tmp_path):
    first = record("next", "one")
    first["messages"] = [message("user", "a"), message("assistant", "b"), *first["messages"]]
    stream, _ = cleaned(
        iter([first, record("next", "two", 2)]), [{"step": "conflicts"}], tmp_path, pytest.fail
    )
    assert len(list(stream)) == 2


@pytest.mark.parametrize(("ignore", "left"), [(False, 2), (True, 0)])
def test_a_system_prompt_is_context_unless_it_is_ignored(tmp_path, ignore, left):
    first = record("q", "one")
    first["messages"] = [message("system", "Be brief."), *first["messages"]]
    steps = [{"step": "conflicts", "ignore_system": ignore}]
    gone = []
    stream, _ = cleaned(
        iter([first, record("q", "two", 2)]), steps, tmp_path, lambda *said: gone.append(said)
    )
    assert len(list(stream)) == left
    assert len(gone) == 2 - left


def test_steps_run_in_their_order(tmp_path):
    pairs = [("<p>hello</p>", "a" * 30), ("hello", "a" * 30)]
    steps = [{"step": "strip_html"}, {"step": "normalize_text"}, {"step": "exact_duplicates"}]
    kept, gone, books = run(tmp_path, steps, pairs)
    assert (len(kept), gone) == (1, [(2, "duplicate")])
    kept, gone, _ = run(tmp_path, steps[::-1], pairs)
    assert (len(kept), gone) == (2, [])
    assert [book.name for book in books] == ["strip_html", "normalize_text", "exact_duplicates"]
    assert books[2].counts()["rejected"] == {"duplicate": 1}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"step": "magic"}, "is unknown; known: .*conflicts"),
        ({"step": "length", "min": 3}, "no option 'min'; it has: min_prompt_chars"),
        ({"step": "conflicts", "keep": "last"}, "expected none, first, majority or report"),
    ],
)
def test_unknown_steps_and_options(tmp_path, step, message):
    with pytest.raises(StageError, match=message):
        run(tmp_path, [step], [("q", "a"), ("q", "b")])


NEEDY = {"judge", "language", "semantic_duplicates"}  # ask for a server, a list, a model
TEXT = st.text(st.sampled_from("aA <p>&;\u200b\u0301é数\n`"), max_size=12)


@given(
    pairs=st.lists(st.tuples(TEXT, TEXT), max_size=12),
    steps=st.lists(st.sampled_from(sorted(set(STEPS) - NEEDY)), max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_every_row_is_accounted_for(tmp_path_factory, pairs, steps):
    folder = tmp_path_factory.mktemp("spool")
    _, gone, books = run(folder, [{"step": step} for step in steps], pairs)
    counted = Counter()
    for book in books:
        counted.update(book.rejected)
    assert counted == Counter(reason for _, reason in gone)


def test_prompt_key_is_that_of_the_first_user_turn():
    short = [message("system", "x"), message("user", "Hello there"), message("assistant", "a")]
    longer = [message("user", "hello  THERE"), message("assistant", "b"), message("user", "more")]
    assert prompt_key(short) == prompt_key(longer)
    assert prompt_key(short) != prompt_key([message("user", "Hello you")])
