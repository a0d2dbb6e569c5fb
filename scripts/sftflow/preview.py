"""A page that shows, token by token, which part of some samples carries loss."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sftflow.masks import IGNORED

# They turn the direction of what follows, so that a reader would see other text than is there.
STEERING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
PAGE = Path(__file__).parents[1] / "templates" / "mask_preview.html.j2"
MOST_TOKENS = 3000  # shown of one sample; a page of more is no use on a phone


class Picked:
    """Keeps the first, longest and shortest sample of a stream and some at random.

    Random means those whose ids have the smallest digests: another order of the rows picks the
    same ones, and so does the next run.
    """

    def __init__(self, further: int = 4) -> None:
        """Keep up to ``further`` samples besides the three."""
        self.further, self.seen = further, 0
        self.first: dict | None = None
        self.longest: dict | None = None
        self.shortest: dict | None = None
        self.others: list[tuple[int, int, dict]] = []  # heap: largest digest on top

    def add(self, sample: dict[str, Any]) -> None:
        """Look at one sample: {id, input_ids, labels, length}."""
        self.first = self.first or sample
        if self.longest is None or sample["length"] > self.longest["length"]:
            self.longest = sample
        if self.shortest is None or sample["length"] < self.shortest["length"]:
            self.shortest = sample
        digest = hashlib.sha256(f"preview {sample['id']}".encode()).digest()
        self.seen += 1
        place = (-int.from_bytes(digest[:8]), -self.seen, sample)
        if len(self.others) < self.further + 3:  # three of them may be shown for another reason
            heapq.heappush(self.others, place)
        else:
            heapq.heappushpop(self.others, place)

    def kinds(self) -> list[tuple[str, dict]]:
        """Return (why it is shown, sample), no sample twice."""
        shown: dict[str, tuple[str, dict]] = {}
        named = [("First", self.first), ("Longest", self.longest), ("Shortest", self.shortest)]
        for kind, sample in named:
            if sample is not None:
                shown.setdefault(sample["id"], (kind, sample))
        random = [sample for *_, sample in sorted(self.others, reverse=True)]
        random = [sample for sample in random if sample["id"] not in shown][: self.further]
        return [*shown.values(), *(("Random", sample) for sample in random)]


def _visible(text: str) -> str:
    text = STEERING.sub(lambda found: f"⟨{ord(found[0]):04X}⟩", text)
    return text.replace("\n", "⏎\n").replace("\t", "⇥\t") or "∅"


def tokens_of(
    tokenizer: Any, ids: Sequence[int], labels: Sequence[int], weights: Sequence[float] = ()
) -> list[dict[str, Any]]:
    """Return [{text, ids, trained, weight}]; parts of one character stand together."""
    shown, held = [], []
    for place, (token, label) in enumerate(zip(ids, labels, strict=True)):
        held.append(token)
        text = tokenizer.decode(held, clean_up_tokenization_spaces=False)
        trained = label != IGNORED
        at_end = place + 1 == len(ids) or (labels[place + 1] != IGNORED) != trained
        if "\ufffd" not in text or at_end or len(held) > 3:
            names = " ".join(map(str, held))
            weight = weights[place] if weights else float(trained)
            shown.append(
                {"text": _visible(text), "ids": names, "trained": trained, "weight": weight}
            )
            held = []
    return shown


def _shown(tokenizer: Any, kind: str, sample: dict[str, Any]) -> dict[str, Any]:
    """Return a sample as the page has it; of a very long one its beginning and its end."""
    ids, labels = sample["input_ids"], sample["labels"]
    weights = sample.get("loss_weights") or [float(label != IGNORED) for label in labels]
    half, hidden = MOST_TOKENS // 2, max(0, len(ids) - MOST_TOKENS)
    parts = [slice(0, half), slice(half + hidden, None)] if hidden else [slice(None)]
    tokens = [tokens_of(tokenizer, ids[part], labels[part], weights[part]) for part in parts]
    largest = max(weights, default=0.0) or 1.0
    for token in (token for part in tokens for token in part):
        token["shade"] = round(100 * token["weight"] / largest)
    return {
        "kind": kind,
        "id": sample["id"],
        "length": sample["length"],
        "trained": sum(label != IGNORED for label in labels),
        "weighted": len({weight for weight in weights if weight}) > 1,
        "hidden": hidden,
        "parts": tokens,
    }


def preview_page(dataset: str, base: str, tokenizer: Any, picked: Picked) -> str:
    """Return the HTML page; everything that comes from data is escaped."""
    from jinja2 import Environment

    samples = [_shown(tokenizer, kind, sample) for kind, sample in picked.kinds()]
    page = Environment(autoescape=True).from_string(PAGE.read_text(encoding="utf-8"))
    weighted = any(sample["weighted"] for sample in samples)
    return page.render(dataset=dataset, base=base, samples=samples, weighted=weighted)
