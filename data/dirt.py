"""How the raw data are spoilt, and how many rows of each kind of dirt a source gets."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from typing import Any

from sftflow.tickets import MATTERS

Row = dict[str, Any]
WESTERN = ("Zoë", "José", "Chloé", "Jürgen", "Renée")  # those that one byte per letter can hold
# How many rows of each kind are added to the good ones of one source.
DIRT = {
    "crm": {
        "exact_duplicate": 45,
        "spacing_duplicate": 30,
        "conflict": 25,
        "empty_answer": 15,
        "null_answer": 12,
        "html": 20,
        "mojibake": 12,
        "control": 12,
        "broken_line": 1,
        "truncated_line": 1,
    },
    "mail": {
        "exact_duplicate": 40,
        "spacing_duplicate": 30,
        "conflict": 20,
        "empty_answer": 12,
        "html": 20,
        "mojibake": 15,
        "control": 8,
        "short_message": 10,
        "ragged": 6,
    },
    "chat": {
        "exact_duplicate": 35,
        "spacing_duplicate": 20,
        "conflict": 15,
        "empty_answer": 10,
        "null_answer": 8,
        "html": 10,
        "control": 8,
        "short_message": 8,
        "unknown_role": 8,
        "two_user_turns": 12,
        "no_answer": 8,
    },
}
OF_GOOD_ROWS = ("exact_duplicate", "spacing_duplicate", "conflict")
IN_THE_FILE = ("broken_line", "truncated_line", "ragged")  # made when the file is written


def respaced(rng: random.Random, text: str) -> str:
    """Return ``text`` with other case or other spacing."""
    changes: tuple[Callable[[str], str], ...] = (
        str.lower,
        lambda t: f"  {t} ",
        lambda t: t.replace(". ", ".  "),
        lambda t: t.replace(" ", "\u00a0", 2) + "\n",
    )
    return rng.choice(changes)(text)


def with_html(rng: random.Random, text: str) -> str:
    """Return ``text`` as it comes out of a web form that kept its markup."""
    return rng.choice(
        (
            f"<p>{text}</p>",
            f"<div><b>{text.split(' ', 1)[0]}</b> {text.split(' ', 1)[1]}</div>",
            text.replace(". ", ".<br>") + "<br/>Tom &amp; Lena",
            text.replace(" ", "&nbsp;", 3),
        )
    )


def mojibake(rng: random.Random, text: str) -> str:
    """Return ``text`` with a name that was read in the wrong encoding."""
    name = rng.choice(WESTERN).encode("utf-8").decode("cp1252")
    return f"{text} Greetings, {name}"


def with_control(rng: random.Random, text: str) -> str:
    """Return ``text`` with an invisible character in it."""
    at = rng.randrange(1, len(text))
    return text[:at] + rng.choice("\u0007\u0008\u200b\ufeff") + text[at:]


def contradicting(rng: random.Random, answer: str) -> str:
    """Return the same answer with another intent."""
    said = json.loads(answer)
    said["intent"] = rng.choice([intent for intent in MATTERS if intent != said["intent"]])
    return json.dumps(said)


def user_text(row: Row) -> tuple[Row, str]:
    """Return the dict and key of a row that hold the customer's message."""
    if "conversations" in row:
        turn = next(t for t in row["conversations"] if t["from"] == "human")
        return turn, "value"
    return row, "instruction" if "instruction" in row else "body"


def answer_text(row: Row) -> tuple[Row, str]:
    """Return the dict and key of a row that hold the last answer."""
    if "conversations" in row:
        return row["conversations"][-1], "value"
    return row, "output" if "output" in row else "label"


def edited(row: Row, place: Callable[[Row], tuple[Row, str]], edit: Callable[[str], Any]) -> Row:
    """Return a copy of ``row`` with one text changed."""
    copy = json.loads(json.dumps(row))
    holder, key = place(copy)
    holder[key] = edit(holder[key])
    return copy


def spoilt(rng: random.Random, kind: str, row: Row) -> Row:
    """Return a good row with one fault of ``kind``."""
    texts = {
        "spacing_duplicate": respaced,
        "html": with_html,
        "mojibake": mojibake,
        "control": with_control,
        "short_message": lambda rng, _: rng.choice(("help", "hello?", "???", "call me", "hi")),
    }
    if kind == "exact_duplicate":
        return row
    if kind in texts:
        return edited(row, user_text, lambda text: texts[kind](rng, text))
    if kind == "conflict":
        return edited(row, answer_text, lambda answer: contradicting(rng, answer))
    if kind == "empty_answer":
        return edited(row, answer_text, lambda _: rng.choice(("", " ", "\n")))
    if kind == "null_answer":
        return edited(row, answer_text, lambda _: None)
    turns = row["conversations"]
    if kind == "unknown_role":
        return {**row, "conversations": [{**turns[0], "from": "narrator"}, *turns[1:]]}
    if kind == "two_user_turns":
        return {**row, "conversations": [{"from": "human", "value": "Hello?"}, *turns[-2:]]}
    assert kind == "no_answer", kind
    return {**row, "conversations": turns[:-1]}


def jsonl_text(rng: random.Random, rows: list[Row], broken: int, truncated: int) -> str:
    """Return JSON Lines, ``broken`` of them without a quote, the last one cut off."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    for _ in range(broken):
        at = rng.randrange(len(lines))
        lines.insert(at, lines[at].replace('"', "", 1))
    text = "\n".join(lines) + "\n"
    return text + lines[0][: len(lines[0]) // 2] if truncated else text


def csv_text(rng: random.Random, rows: list[Row], ragged: int) -> str:
    """Return CSV with a BOM; ``ragged`` rows have a field too many or too few."""
    lines = [list(row.values()) for row in rows]
    for _ in range(ragged):
        wrong = list(rng.choice(rows).values())
        wrong = [*wrong, "open"] if rng.random() < 0.5 else wrong[:-1]
        lines.insert(rng.randrange(len(lines) + 1), wrong)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows(lines)
    return "\ufeff" + out.getvalue()
