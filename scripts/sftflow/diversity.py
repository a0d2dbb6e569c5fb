"""How varied texts are: distinct n-grams, and the words that they begin with."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from sftflow.words import opening, words

ORDERS = (1, 2, 3)
FIRST_WORDS = 200  # of each text: a few long ones shall not decide the figure
BITS = 20  # three word numbers fit into 64 bits; a word after the millionth counts as "other"
LISTED_FIRST, LISTED_SECOND = 300, 6  # words kept of the openings


class Ngrams:
    """Counts different n-grams of words among many texts: 24 bytes for each word taken in."""

    def __init__(self) -> None:
        """Start without a text."""
        self._numbers: dict[str, int] = {}
        self._found: dict[int, list[np.ndarray]] = {order: [] for order in ORDERS}

    def add(self, text: str) -> None:
        """Take in the first words of a text."""
        last = (1 << BITS) - 1
        numbers = self._numbers
        said = np.array(
            [min(numbers.setdefault(w, len(numbers)), last) for w in words(text)[:FIRST_WORDS]],
            dtype=np.uint64,
        )
        for order in ORDERS:
            count = len(said) - order + 1
            if count > 0:
                gram = np.zeros(count, dtype=np.uint64)
                for place in range(order):
                    gram = gram << np.uint64(BITS) | said[place : place + count]
                self._found[order].append(gram)

    def figures(self) -> list[dict[str, Any]]:
        """Return {n, ngrams, different, distinct} for each n; ``distinct`` is a share or null.

        distinct-n is the number of different n-grams over that of all n-grams (Li et al. 2016,
        arXiv:1510.03055). It falls as texts are added, so compare it at like ``ngrams`` only.
        """
        figures = []
        for order, found in self._found.items():
            grams = np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)
            different, every = len(np.unique(grams)), len(grams)
            share = round(different / every, 4) if every else None
            figures.append({"n": order, "ngrams": every, "different": different, "distinct": share})
        return figures


class Openings:
    """Counts how texts begin: by first and second word, as Self-Instruct does by verb and noun.

    Self-Instruct (arXiv:2212.10560, figure 3) parses instructions; an instruction in English
    mostly begins with its verb, and first words need no parser for each language.
    """

    def __init__(self) -> None:
        """Start without a text."""
        self.first: Counter[str] = Counter()
        self.both: Counter[tuple[str, str]] = Counter()

    def add(self, text: str) -> None:
        """Take in the beginning of a text."""
        first, second = (word[:24] for word in opening(text[:400]))
        self.first[first] += 1
        self.both[first, second] += 1

    def figures(self) -> dict[str, Any]:
        """Return number of texts, of different openings, and the most frequent ones."""
        seconds: dict[str, list[list[Any]]] = {}
        for (first, second), texts in ranked(self.both):
            below = seconds.setdefault(first, [])
            if len(below) < LISTED_SECOND:
                below.append([second, texts])
        return {
            "texts": self.first.total(),
            "different": len(self.both),
            "words": [
                {"word": word, "texts": texts, "next": seconds[word]}
                for word, texts in ranked(self.first)[:LISTED_FIRST]
            ],
        }


def ranked(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """Return (value, number), the most frequent first, equal ones by value."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
