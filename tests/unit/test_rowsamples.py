from sftflow.records import message
from sftflow.rowsamples import OPEN_CHARS, Samples, shortened, shown_message


def record(number, chars):
    said = [message("user", "q"), message("assistant", "w" * chars)]
    place = {"source": "s", "file": None, "row": number}
    return {"id": f"{number:016x}", **place, "messages": said, "tools": None}


def groups(rows):
    samples = Samples()
    for row in rows:
        samples.add(row)
    return {g["title"]: [r["place"] for r in g["rows"]] for g in samples.groups()}


def test_forty_rows_and_none_twice():
    shown = groups(record(i, (i * 37) % 500) for i in range(500))
    assert shown["Drawn by lot"] == [f"s:{i}" for i in range(24)]
    assert sum(map(len, shown.values())) <= 40
    everyone = [place for places in shown.values() for place in places]
    assert len(set(everyone)) == len(everyone)
    # (i * 37) % 500 = 499 at i = 27, for 27 * 37 = 999; and 0 at i = 0, which is shown above
    assert shown["The longest"][0] == "s:27"


def test_the_order_of_rows_changes_nothing():
    rows = [record(i, (i * 37) % 500) for i in range(500)]
    assert groups(rows) == groups(rows[::-1])


def test_a_few_rows_are_all_shown():
    assert groups(record(i, i) for i in range(3)) == {"Drawn by lot": ["s:0", "s:1", "s:2"]}


def test_a_long_message_is_folded_and_nothing_lost():
    text = "word " * 400
    shown = shown_message(message("user", text))
    assert shown["open"] + shown["folded"] == text
    assert len(shown["open"]) <= OPEN_CHARS
    assert shown["open"].endswith("word")
    assert shown["more"] == len(shown["folded"])


def test_a_very_long_one_says_what_is_left_out():
    assert shortened("a" * 10, 4) == "aaaa … [6 characters more]"
    assert "characters more]" in shown_message(message("user", "x" * 100_000))["folded"]
