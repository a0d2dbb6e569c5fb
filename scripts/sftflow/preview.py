"""A page that shows, token by token, which part of some samples carries loss."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sftflow.masks import IGNORED

# They turn the direction of what follows, so that a reader would see other text than is there.
STEERING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
PAGE = Path(__file__).parents[1] / "templates" / "mask_preview.html.j2"


class Picked:
    """Keeps the first, longest and shortest sample of a stream and some at powers of two."""

    def __init__(self, further: int = 4) -> None:
        """Keep up to ``further`` samples besides the three."""
        self.further, self.seen = further, 0
        self.first: dict | None = None
        self.longest: dict | None = None
        self.shortest: dict | None = None
        self.others: list[dict] = []

    def add(self, sample: dict[str, Any]) -> None:
        """Look at one sample: {id, input_ids, labels, length}."""
        self.first = self.first or sample
        if self.longest is None or sample["length"] > self.longest["length"]:
            self.longest = sample
        if self.shortest is None or sample["length"] < self.shortest["length"]:
            self.shortest = sample
        if self.seen and self.seen & (self.seen - 1) == 0:  # the latest ones win
            self.others = [*self.others, sample][-self.further :]
        self.seen += 1

    def kinds(self) -> list[tuple[str, dict]]:
        """Return (why it is shown, sample), no sample twice."""
        named = [("First", self.first), ("Longest", self.longest), ("Shortest", self.shortest)]
        named += [("Another", sample) for sample in self.others]
        shown: dict[str, tuple[str, dict]] = {}
        for kind, sample in named:
            if sample is not None:
                shown.setdefault(sample["id"], (kind, sample))
        return list(shown.values())


def _visible(text: str) -> str:
    text = STEERING.sub(lambda found: f"⟨{ord(found[0]):04X}⟩", text)
    return text.replace("\n", "⏎\n").replace("\t", "⇥\t") or "∅"


def tokens_of(tokenizer: Any, ids: Sequence[int], labels: Sequence[int]) -> list[dict[str, Any]]:
    """Return [{text, ids, trained}]; tokens that are parts of one character stand together."""
    shown, held = [], []
    for place, (token, label) in enumerate(zip(ids, labels, strict=True)):
        held.append(token)
        text = tokenizer.decode(held, clean_up_tokenization_spaces=False)
        trained = label != IGNORED
        at_end = place + 1 == len(ids) or (labels[place + 1] != IGNORED) != trained
        if "\ufffd" not in text or at_end or len(held) > 3:
            names = " ".join(map(str, held))
            shown.append({"text": _visible(text), "ids": names, "trained": trained})
            held = []
    return shown


def preview_page(dataset: str, base: str, tokenizer: Any, picked: Picked) -> str:
    """Return the HTML page; everything that comes from data is escaped."""
    from jinja2 import Environment

    samples = [
        {
            "kind": kind,
            "id": sample["id"],
            "length": sample["length"],
            "trained": sum(label != IGNORED for label in sample["labels"]),
            "tokens": tokens_of(tokenizer, sample["input_ids"], sample["labels"]),
        }
        for kind, sample in picked.kinds()
    ]
    page = Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
    return page.render(dataset=dataset, base=base, samples=samples)
