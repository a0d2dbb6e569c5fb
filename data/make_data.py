"""Make the raw data of the embedded default from a seed: the same bytes every time.

writes  tickets_crm.jsonl (Alpaca), tickets_mail.csv (own columns, UTF-8 with BOM),
        tickets_chat.json (ShareGPT), general_heldout.txt (one story per line),
        prompts.jsonl (fixed chat prompts), dirt.json (how many rows of each kind of dirt)

The three sources are dirty on purpose; README.md beside this file says how.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

from dirt import DIRT, IN_THE_FILE, OF_GOOD_ROWS, csv_text, jsonl_text, spoilt  # noqa: E402

from sftflow.tickets import Ticket, ticket  # noqa: E402  (the package lies beside this folder)
from sftflow.toytext import heldout_lines  # noqa: E402

Row = dict[str, Any]
SEED = 2025
GOOD_ROWS = {"crm": 1230, "mail": 1060, "chat": 880}
HELDOUT_STORIES = 200
SYSTEM = "Sort the message: intent, product, urgency."
WHERE_FROM = ("Written in the app", "Written on the web page", "By letter", "Called in")
ACCENTED = ("Zoë", "José", "Łukasz", "Chloé", "Jürgen", "Siân", "Renée")  # for true UTF-8


def fresh_tickets(rng: random.Random, seen: set[str]) -> Iterator[Ticket]:
    """Yield tickets whose message, whatever its case and spacing, was not given out yet."""
    while True:
        made = ticket(rng)
        key = " ".join(made.message.lower().split())
        if key not in seen:
            seen.add(key)
            yield made


def crm_row(rng: random.Random, made: Ticket, number: int) -> Row:
    """Return an Alpaca row; some say in ``input`` how the message came."""
    come = rng.choice(WHERE_FROM) if rng.random() < 0.25 else ""
    return {
        "id": f"crm-{number}",
        "instruction": made.message,
        "input": come,
        "output": made.answer(),
    }


def mail_row(rng: random.Random, made: Ticket, number: int) -> Row:
    """Return a row of the mail export; some bodies have several lines and an accented name."""
    body = made.message
    if rng.random() < 0.3:
        body = body.replace(". ", ".\n", 1)
    if rng.random() < 0.1:
        body = f"{body}\n{rng.choice(ACCENTED)}"
    return {
        "received": f"2025-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}",
        "sender": f"customer{number}@example.org",
        "body": body,
        "label": made.answer(),
    }


def chat_row(rng: random.Random, made: Ticket, number: int) -> Row:
    """Return a ShareGPT row; some begin with a system turn."""
    turns = [{"from": "system", "value": SYSTEM}] if rng.random() < 0.3 else []
    turns.append({"from": "human", "value": made.message})
    turns.append({"from": "gpt", "value": made.answer()})
    return {"id": f"chat-{number}", "conversations": turns}


def two_exchanges(rng: random.Random, row: Row, second: Ticket) -> Row:
    """Return a chat in which the customer has another matter after the first answer."""
    also = rng.choice(("And another thing. ", "One more. ", ""))
    turns = [
        *row["conversations"],
        {"from": "human", "value": also + second.message},
        {"from": "gpt", "value": second.answer()},
    ]
    return {**row, "conversations": turns}


def source_rows(
    rng: random.Random, name: str, to_row: Callable[[random.Random, Ticket, int], Row], fresh
) -> list[tuple[str, Row]]:
    """Return the rows of a source, each with its kind: good, or a kind of dirt."""
    tickets = (next(fresh) for _ in range(GOOD_ROWS[name]))
    rows = [("good", to_row(rng, made, 1000 + i)) for i, made in enumerate(tickets)]
    if name == "chat":
        rows = [
            (kind, two_exchanges(rng, row, next(fresh)) if rng.random() < 0.08 else row)
            for kind, row in rows
        ]
    spoils: list[tuple[str, Row]] = []
    for kind, count in DIRT[name].items():
        for _ in range(count):
            number = 1000 + len(rows) + len(spoils)
            if kind in OF_GOOD_ROWS:
                spoils.append((kind, spoilt(rng, kind, rng.choice(rows)[1])))
            elif kind not in IN_THE_FILE:
                spoils.append((kind, spoilt(rng, kind, to_row(rng, next(fresh), number))))
    for spoil in spoils:
        rows.insert(rng.randrange(len(rows) + 1), spoil)
    return rows


def chat_prompts(fresh) -> list[list[dict[str, str]]]:
    """Return the fixed prompts: tickets, one with a system turn, one follow-up, small talk."""
    tickets = [next(fresh) for _ in range(10)]

    def user(text: str) -> dict[str, str]:
        return {"role": "user", "content": text}

    prompts = [[user(made.message)] for made in tickets[:8]]
    prompts.append([{"role": "system", "content": SYSTEM}, user(tickets[8].message)])
    follow_up = {"role": "assistant", "content": tickets[0].answer()}
    prompts.append([user(tickets[0].message), follow_up, user(tickets[9].message)])
    prompts += [[user("What colour is the lamp of Mara?")], [user("Where is Tom?")]]
    return prompts


def files(seed: int) -> dict[str, str]:
    """Return the text of every file by its name."""
    rng = random.Random(seed)
    fresh = fresh_tickets(rng, set())
    kinds: dict[str, Counter[str]] = {}
    rows: dict[str, list[Row]] = {}
    for name, to_row in (("crm", crm_row), ("mail", mail_row), ("chat", chat_row)):
        made = source_rows(rng, name, to_row, fresh)
        rows[name] = [row for _, row in made]
        kinds[name] = Counter(kind for kind, _ in made)
        for kind in IN_THE_FILE:
            if kind in DIRT[name]:
                kinds[name][kind] = DIRT[name][kind]
    crm, mail = DIRT["crm"], DIRT["mail"]
    prompts = [json.dumps({"messages": p}, ensure_ascii=False) for p in chat_prompts(fresh)]
    chats = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows["chat"])
    return {
        "tickets_crm.jsonl": jsonl_text(
            rng, rows["crm"], crm["broken_line"], crm["truncated_line"]
        ),
        "tickets_mail.csv": csv_text(rng, rows["mail"], mail["ragged"]),
        "tickets_chat.json": f"[\n{chats}\n]\n",
        "general_heldout.txt": "\n".join(heldout_lines(seed + 1, HELDOUT_STORIES)) + "\n",
        "prompts.jsonl": "\n".join(prompts) + "\n",
        "dirt.json": json.dumps(kinds, indent=1, sort_keys=True) + "\n",
    }


def main(argv: list[str] | None = None) -> None:
    """Write the files beside this script, or into another folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--folder", type=Path, default=HERE)
    args = parser.parse_args(argv)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, text in files(args.seed).items():
        (args.folder / name).write_text(text, encoding="utf-8", newline="")


if __name__ == "__main__":
    main()
