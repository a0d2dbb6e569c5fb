"""Runs one cleaning step over a few records and looks at what comes out."""

from sftflow.cleaning import cleaned
from sftflow.records import message


def record(*turns, row=1, tools=None):
    """A record of (role, text) turns; a role may be a ready message."""
    messages = [t if isinstance(t, dict) else message(*t) for t in turns]
    place = {"id": "", "source": "s", "file": "f", "row": row}
    return {**place, "messages": messages, "tools": tools}


def talk(prompt, answer, row=1, tools=None):
    return record(("user", prompt), ("assistant", answer), row=row, tools=tools)


def run_step(folder, step, records):
    """Return (records that stay, [(row, reason, detail, record)] of the others, books)."""
    gone = []

    def refuse(_name, refused, reason, detail):
        gone.append((refused["row"], reason, detail, refused))

    records = list(records)
    stream, (books,) = cleaned(iter(records), [step], folder, refuse)
    kept = list(stream)
    assert len(kept) + len(gone) == len(records) == books.rows_in
    assert len(kept) == books.rows_out
    return kept, gone, books


def answers(records):
    return [r["messages"][-1]["content"] for r in records]
