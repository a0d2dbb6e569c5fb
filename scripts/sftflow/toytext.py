"""Made-up plain text for pre-training a toy base model: stories, records, notes, chats.

The notes and chats speak about support messages in prose, so that the base model knows the
words of the tickets. None of the text shows the answer format that fine-tuning teaches.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

from sftflow.tickets import MONTHS, NAMES, PRODUCTS, URGENCY, Ticket, matter, sentence, ticket

PLACES = (
    "market",
    "harbour",
    "library",
    "station",
    "garden",
    "bakery",
    "school",
    "river",
    "museum",
)
THINGS = ("basket", "lamp", "letter", "bicycle", "umbrella", "map", "violin", "kettle", "blanket")
FOOD = ("apples", "bread", "soup", "cherries", "rice", "honey", "cheese", "plums", "tea")
ANIMALS = ("dog", "cat", "horse", "goose", "fox", "owl", "sparrow", "goat", "hedgehog")
COLOURS = ("red", "blue", "green", "yellow", "brown", "white", "grey", "black")
WEATHER = ("rain", "snow", "wind", "fog", "sunshine", "thunder", "frost")
JOBS = ("teacher", "baker", "driver", "nurse", "carpenter", "sailor", "farmer", "clerk")
FEELINGS = ("happy", "tired", "curious", "proud", "calm", "worried", "surprised")
NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SLOTS = {
    "place": PLACES,
    "place2": PLACES,
    "thing": THINGS,
    "thing2": THINGS,
    "food": FOOD,
    "animal": ANIMALS,
    "colour": COLOURS,
    "colour2": COLOURS,
    "weather": WEATHER,
    "job": JOBS,
    "feeling": FEELINGS,
    "number": NUMBERS,
    "day": DAYS,
    "friend": NAMES,
    "month": MONTHS,
}
OPENINGS = (
    "{name} was a {job} who lived near the {place}.",
    "One {day} in {month}, {name} walked from the {place} to the {place2}.",
    "There was {weather} on {day}, and {name} stayed at the {place}.",
    "{name} and {friend} met at the {place} every {day}.",
    "The {job} gave {name} a {colour} {thing} and some {food}.",
)
MIDDLES = (
    "{name} found a {colour} {thing} beside the {place}.",
    "A {colour} {animal} ran across the {place2} and looked {feeling}.",
    "{friend} asked where the {thing} was, but nobody knew.",
    "They bought {number} pieces of {food} and shared them with the {animal}.",
    "The {thing} was {colour}, and the {thing2} was {colour2}.",
    '"Have you seen my {thing}?" asked {friend}. "It is at the {place2}," said {name}.',
    "Because of the {weather}, the {job} closed the door of the {place}.",
    "{name} carried the {thing} to the {job} and came home with {food}.",
    "After {number} hours the {weather} was over.",
    "The {animal} slept under the {thing2} until {day}.",
    "It took {number} days to repair the {thing}.",
    "Nobody at the {place} had ever tasted such {food}.",
)
ENDINGS = (
    "In the end {name} was {feeling}.",
    "{name} thanked the {job} and went home.",
    "On {day} they all ate {food} together.",
    "{friend} still tells the story of the {colour} {thing}.",
    "And the {animal} was {feeling} too.",
)

# What a clerk would say of a ticket: for each label some words, and a reply to the customer.
ABOUT = {
    "refund": ("refund", "money back", "repayment"),
    "delivery": ("delivery", "parcel", "shipping"),
    "login": ("login", "password", "access"),
    "fault": ("fault", "defect", "repair"),
    "cancel": ("cancel", "cancellation", "end of contract"),
    "billing": ("billing", "invoice", "charge"),
}
SOON = {
    "high": ("high", "urgent", "at once"),
    "normal": ("normal", "usual", "this week"),
    "low": ("low", "no rush", "some day"),
}
REPLIES = {
    "refund": "we will send your money back for the {p}",
    "delivery": "we will look for the parcel with the {p}",
    "login": "we will open the account of the {p} again",
    "fault": "we will repair the {p}",
    "cancel": "we will cancel the {p}",
    "billing": "we will correct the bill for the {p}",
}
PACE = {
    "high": "We start at once",
    "normal": "We write again this week",
    "low": "We take our time with it",
}
# Headings of a clerk's form, one row per label; none is a key of the answers.
HEADINGS = (
    ("Matter", "Topic", "About", "Reason"),
    ("Device", "Item", "Thing", "Article"),
    ("Pace", "Priority", "When", "Speed"),
)


def filled(rng: random.Random, template: str, **fixed: str) -> str:
    """Return a sentence with one random word in each slot."""
    words = {slot: rng.choice(words) for slot, words in SLOTS.items()}
    return template.format(**{**words, **fixed})


def story(rng: random.Random) -> str:
    """Return a little story of three to six sentences about one person."""
    name = rng.choice(NAMES)
    friend = rng.choice([other for other in NAMES if other != name])
    middles = rng.sample(MIDDLES, rng.randrange(1, 5))
    parts = [rng.choice(OPENINGS), *middles, rng.choice(ENDINGS)]
    return " ".join(filled(rng, part, name=name, friend=friend) for part in parts)


def record(rng: random.Random) -> str:
    """Return a line of data: JSON or comma-separated, with keys that no ticket has."""
    row = {
        "name": rng.choice(NAMES),
        "job": rng.choice(JOBS),
        "place": rng.choice(PLACES),
        "age": rng.randrange(18, 90),
        "pets": [rng.choice(ANIMALS) for _ in range(rng.randrange(3))],
        "member": rng.random() < 0.5,
    }
    keys = rng.sample(list(row), rng.randrange(2, 5))
    if rng.random() < 0.7:
        return json.dumps({key: row[key] for key in keys})
    return ", ".join(f"{key}={row[key]}" for key in keys)


def form(rng: random.Random, about: Ticket) -> str:
    """Return a clerk's form on a ticket: some headings with their words, in any order."""
    words = (
        rng.choice(ABOUT[about.intent]),
        about.product,
        rng.choice(SOON[about.urgency]),
    )
    pairs = [(rng.choice(names), word) for names, word in zip(HEADINGS, words, strict=True)]
    pairs = rng.sample(pairs, rng.choice((2, 3, 3)))
    if rng.random() < 0.5:
        pairs = [(heading.lower(), word) for heading, word in pairs]
    if rng.random() < 0.4:
        return json.dumps(dict(pairs))
    between, end = rng.choice(((": ", ". "), (" = ", ", "), (" - ", "; "), (": ", "\n")))
    quote = rng.choice(("", "", '"'))
    return end.join(f"{name}{between}{quote}{word}{quote}" for name, word in pairs) + "."


def note(rng: random.Random) -> str:
    """Return a message, or just what it is about, and a clerk's form on it."""
    about = ticket(rng)
    if rng.random() < 0.5:
        clause = sentence(matter(rng, about.intent, about.product))
        pressure = rng.choice(URGENCY[about.urgency]) or "Thanks"
        about = replace(about, message=f"{clause} {sentence(pressure)}")
    return about.message + rng.choice(("\n", " -> ", " ")) + form(rng, about)


def glossary(rng: random.Random) -> str:
    """Return short remarks on what a word means."""
    remarks = []
    for _ in range(rng.randrange(3, 7)):
        product = rng.choice(list(PRODUCTS))
        aliases = [alias for alias in PRODUCTS[product] if alias != product]
        remarks.append(f"{rng.choice(aliases)} means {product}.")
    heading, word = rng.choice(
        (("intent", "matter"), ("product", "device"), ("urgency", "pace"), ("reason", "topic"))
    )
    remarks.insert(rng.randrange(len(remarks)), f"{heading} means {word}.")
    return " ".join(remarks)


def chat(rng: random.Random) -> list[dict[str, str]]:
    """Return a short exchange in prose: about a ticket, or about a story."""
    if rng.random() < 0.85:
        about = ticket(rng)
        reply = REPLIES[about.intent].format(p=about.product)
        return _exchange(about.message, f"Thank you, {reply}. {PACE[about.urgency]}.")
    name, thing, colour, place = (rng.choice(x) for x in (NAMES, THINGS, COLOURS, PLACES))
    asked, said = rng.choice(
        (
            (f"What colour is the {thing} of {name}?", f"The {thing} of {name} is {colour}."),
            (f"Where is {name}?", f"{name} is at the {place}."),
            (f"Who has the {thing}?", f"{name} has the {thing}."),
            (f"{name} has a {colour} {thing}. What does {name} have?", f"A {colour} {thing}."),
        )
    )
    return _exchange(asked, said)


def _exchange(asked: str, said: str) -> list[dict[str, str]]:
    """Return one user turn and its answer."""
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]


def chatml(messages: list[dict[str, str]]) -> str:
    """Return messages as ChatML text; its control tokens are the tokenizer's special tokens."""
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)


def documents(seed: int, plain: bool = False) -> Iterator[str]:
    """Yield documents without end; ``plain`` leaves chats, and so control tokens, out."""
    rng = random.Random(seed)
    while True:
        kind = rng.random()
        if kind < 0.12:
            yield story(rng)
        elif kind < 0.16:
            yield record(rng)
        elif kind < 0.22:
            yield glossary(rng)
        elif kind < 0.70 or plain:
            yield note(rng)
        else:
            yield chatml(chat(rng))


def heldout_lines(seed: int, count: int) -> list[str]:
    """Return ``count`` stories, one per line."""
    rng = random.Random(seed)
    return [story(rng) for _ in range(count)]
