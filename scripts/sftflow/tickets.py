"""Made-up messages to a shop's support desk, each with its intent, product and urgency.

A message is put together from phrases: greeting, facts, the matter itself, how soon it is
needed, farewell; some are in small letters throughout.
There are millions of combinations, so two draws are hardly ever the same text.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

PRODUCTS = {
    "router": ("router", "wifi router", "wifi box", "Vento 3 router", "Vento"),
    "phone": ("phone", "mobile phone", "smartphone", "Pico 7 phone", "Pico"),
    "tablet": ("tablet", "drawing tablet", "tablet computer", "Lumen 10 tablet", "Lumen"),
    "laptop": ("laptop", "notebook", "office laptop", "Corva 14 laptop", "Corva"),
    "headset": ("headset", "headphones", "wireless headset", "Sono 5 headset", "Sono"),
    "camera": ("camera", "webcam", "video camera", "Iris 2 camera", "Iris"),
}

MATTERS = {
    "refund": (
        "I want my money back for the {p}",
        "please refund the {p}",
        "I returned the {p} and still wait for the refund",
        "how do I send the {p} back and get my money returned",
        "can you reimburse me for the {p}",
        "you promised to pay me back for the {p} and nothing came",
        "I am not happy with the {p} and would like a refund",
        "when do I get the money for the {p} that I sent back",
        "I would like to return the {p} against repayment",
    ),
    "delivery": (
        "the {p} has not arrived yet",
        "where is the {p} that I ordered",
        "the parcel with the {p} is late",
        "tracking says that the {p} is still in the depot",
        "the courier left the {p} at a wrong address",
        "I have been waiting for the {p} for two weeks",
        "can you tell me when the {p} will be delivered",
        "the shipment of the {p} seems to be lost",
        "the driver did not ring and took the {p} away again",
    ),
    "login": (
        "I can not log in to the account of my {p}",
        "the app of the {p} refuses my password",
        "I am locked out of my {p}",
        "the code to unlock the {p} never comes",
        "I forgot the password of the {p}",
        "how do I reset the password for my {p}",
        "the {p} says that my user name is unknown",
        "signing in on the {p} fails every time",
        "my account for the {p} is blocked",
    ),
    "fault": (
        "the {p} does not turn on",
        "the {p} keeps restarting",
        "the {p} gets very hot after a few minutes",
        "the {p} makes a strange noise",
        "the {p} is broken since this morning",
        "there is a crack in the {p}",
        "a button of the {p} is stuck",
        "the {p} loses the connection all the time",
        "the {p} stopped working after the update",
    ),
    "cancel": (
        "please cancel my order of the {p}",
        "I changed my mind and do not want the {p} any more",
        "I want to end the contract for the {p}",
        "stop the order of the {p}",
        "how can I cancel the subscription that came with the {p}",
        "I ordered the {p} by mistake, please take the order out",
        "I do not need the {p} any longer, cancel it",
        "please withdraw my order for the {p} before it is packed",
        "I would like to terminate the plan for the {p}",
    ),
    "billing": (
        "the invoice for the {p} is wrong",
        "I was charged twice for the {p}",
        "there is a fee on the bill for the {p} that I do not know",
        "please send me the invoice for the {p} again",
        "the price of the {p} on my bill is too high",
        "the discount for the {p} is missing on the invoice",
        "my card was charged for the {p} although I paid in cash",
        "the bill for the {p} has a wrong company name",
        "why do I pay a monthly charge for the {p}",
    ),
}

URGENCY = {
    "high": (
        "This is urgent",
        "I need an answer today",
        "Please act as soon as possible",
        "This can not wait",
        "It is an emergency for us",
        "Please hurry",
    ),
    "normal": (
        "",
        "",
        "Please let me know",
        "What should I do",
        "I look forward to your answer",
        "Please tell me the next step",
    ),
    "low": (
        "There is no rush",
        "It can wait until next week",
        "I am not in a hurry",
        "Take your time",
        "This has low priority for me",
        "No need to answer quickly",
    ),
}

GREETINGS = ("", "", "", "Hello.", "Hi!", "Hi there.", "Good morning.", "Dear team!", "Hey.")
FAREWELLS = ("", "", "", "", "Thanks", "Thank you", "Best regards", "Kind regards", "Cheers")
NAMES = ("Mara", "Tom", "Lena", "Omar", "Julia", "Pavel", "Nina", "Carl", "Aiko", "Ben", "Rosa")
MONTHS = ("January", "March", "April", "May", "July", "August", "October", "December")
FACTS = (
    "My order number is {n}",
    "The order is {n}",
    "My customer number is {n}",
    "I bought it in {month}",
    "I have been a customer since {year}",
    "I ordered it in {month} {year}",
    "I am writing for my mother",
    "I wrote to you in {month} already",
)


@dataclass(frozen=True)
class Ticket:
    """A message and what a clerk would file it under."""

    message: str
    intent: str
    product: str
    urgency: str

    def answer(self) -> str:
        """Return the one line of JSON that the tuned model must give."""
        return json.dumps({"intent": self.intent, "product": self.product, "urgency": self.urgency})


def fact(rng: random.Random) -> str:
    """Return a sentence that is beside the matter: an order number, a date, a year."""
    return rng.choice(FACTS).format(
        n=rng.randrange(10000, 99999), month=rng.choice(MONTHS), year=rng.randrange(2015, 2026)
    )


def matter(rng: random.Random, intent: str, product: str) -> str:
    """Return the clause that says what is wanted."""
    return rng.choice(MATTERS[intent]).format(p=rng.choice(PRODUCTS[product]))


def sentence(text: str) -> str:
    """Return ``text`` with a capital and an end mark."""
    asks = ("how ", "where ", "when ", "why ", "what ", "can ")
    mark = "?" if text.lower().startswith(asks) else "."
    return text[0].upper() + text[1:] + mark


def ticket(rng: random.Random) -> Ticket:
    """Return one made-up ticket; every label is equally likely."""
    intent, product, urgency = (rng.choice(list(x)) for x in (MATTERS, PRODUCTS, URGENCY))
    parts = [sentence(matter(rng, intent, product))]
    if pressure := rng.choice(URGENCY[urgency]):
        parts.insert(rng.choice((0, 1, 1)), sentence(pressure))
    if rng.random() < 0.4:
        parts.insert(rng.randrange(len(parts) + 1), sentence(fact(rng)))
    if greeting := rng.choice(GREETINGS):
        parts.insert(0, greeting)
    if farewell := rng.choice(FAREWELLS):
        parts.append(f"{farewell}, {rng.choice(NAMES)}")
    message = " ".join(parts)
    if rng.random() < 0.2:
        message = message.lower()
    return Ticket(message, intent, product, urgency)
