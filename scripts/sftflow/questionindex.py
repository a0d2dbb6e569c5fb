"""An index of benchmark questions by their phrases, to look rows up in.

A question's phrases are its n-grams of words; a shorter question is one phrase as a whole
(n-gram overlap: GPT-3, arXiv:2005.14165, appendix C, from which the constants are). In memory
stay about 30 bytes for each word of the questions, and nothing of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from sftflow.wordplaces import Word, characters_per_word, plain_text, words

SHORTEST = 8  # words; GPT-3: phrases of fewer are found by chance
LEAST = 3  # words; a shorter question can't be told from small talk
COMMON = 10  # GPT-3: a phrase of more than 10 texts is a figure of speech
COMMON_SHARE = 0.05  # of a task's questions: a phrase of more is part of its prompt
LABEL = 3  # words at most of what any two questions may share as a label ("Question:")
MASK = (1 << 22) - 1  # bits of a hash that are looked at before the hash is searched
_ODD = 0x9E3779B97F4A7C15
_INVERSE = pow(_ODD, -1, 1 << 64)


class Question(NamedTuple):
    """One item of a benchmark task; ``own`` if it is a row that this dataset has set aside."""

    suite: str
    task: str
    doc: int
    text: str
    own: bool


class Hits(NamedTuple):
    """Phrases of one length in a sequence of words: their numbers, and of their first words."""

    length: int
    phrases: np.ndarray
    at: np.ndarray


class Shelf(NamedTuple):
    """All phrases of one length, sorted by hash, and the questions that hold each.

    Phrase i of the shelf has the number ``first + i`` and stands in the questions
    ``questions[offsets[i]:offsets[i + 1]]``, there from word ``starts[...]`` on.
    """

    first: int
    hashes: np.ndarray
    offsets: np.ndarray
    questions: np.ndarray
    starts: np.ndarray


def _spread(ids: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each id (splitmix64, Steele et al. 2014)."""
    x = ids.astype(np.uint64) * np.uint64(_ODD) + np.uint64(_ODD)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _powers(base: int, count: int) -> np.ndarray:
    powers = np.full(count, base, dtype=np.uint64)
    if count:
        powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


class Windows:
    """The hashes of all phrases of a sequence of word ids; equal phrases, equal hashes."""

    def __init__(self, ids: np.ndarray) -> None:
        """Sum up once; each length of phrase then costs one subtraction (Rabin-Karp)."""
        self.count = len(ids)
        terms = _spread(ids) * _powers(_ODD, len(ids))
        self._sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        self._inverse = _powers(_INVERSE, len(ids))

    def of(self, length: int) -> np.ndarray:
        """Return the hash of each phrase of ``length`` words, by its first word."""
        if self.count < length:
            return np.zeros(0, np.uint64)
        sums = self._sums[length:] - self._sums[: self.count - length + 1]
        return sums * self._inverse[: len(sums)]


def _shared(texts: Iterable[Sequence[str]]) -> int:
    """Return how many items these sequences have in common from their beginning on."""
    columns = zip(*texts, strict=False)  # as far as the shortest goes
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, columns))


def shared_edges(texts: Sequence[Sequence[Word]]) -> tuple[int, int]:
    """Return how many words at the beginning and end are no question but the task's prompt.

    They are whole sentences or labels that all texts of a task share; of fewer than COMMON
    different texts only a label is believed to be one.
    """
    different = {tuple(w.text for w in text) for text in texts}
    if len(different) < 2:
        return 0, 0
    most = LABEL if len(different) < COMMON else max(map(len, different))
    first = texts[0]
    shortest = min(map(len, different))
    before = min(_shared(different), most, shortest - 1)
    while before > 0 and not first[before - 1].closes:
        before -= 1
    after = min(_shared(text[::-1] for text in different), most, shortest - 1 - before)
    while after > 0 and not first[-after].opens:
        after -= 1
    return max(before, 0), max(after, 0)


def phrases(text: str, found: Sequence[Word], ngram: int) -> dict[int, np.ndarray]:
    """Return the phrases by which a text of these words is known: length -> first words.

    Beside the n-grams these are its lines that are too short for one: the question of a
    multiple choice, which a row may hold without the choices.
    """
    factor = characters_per_word([w.text for w in found])
    length, shortest, least = (round(factor * n) for n in (ngram, min(SHORTEST, ngram), LEAST))
    if len(found) < length:
        return {len(found): np.zeros(1, np.int64)} if len(found) >= least else {}
    known = {length: np.arange(len(found) - length + 1)}
    start = 0
    for line in text.splitlines():
        count = len(words(line))
        if shortest <= count < length:
            known[count] = np.append(known.get(count, np.zeros(0, np.int64)), start)
        start += count
    return known


class QuestionIndex:
    """Finds phrases of questions in sequences of words."""

    def __init__(self, questions: Iterable[Question], ngram: int = 13) -> None:
        """Index ``questions`` by phrases of ``ngram`` words."""
        self.questions = list(questions)
        self._ids: dict[str, int] = {}  # 0 is every word that no question has
        self.known_words = np.zeros(len(self.questions), np.int64)  # words that lie in a phrase
        self.whole = np.zeros(len(self.questions), bool)  # too short for an n-gram
        self.bare = np.zeros(len(self.questions), bool)  # so short that edges count
        by_task: dict[tuple[str, str], list[int]] = {}
        for number, question in enumerate(self.questions):
            by_task.setdefault((question.suite, question.task), []).append(number)
        places: dict[int, list[np.ndarray]] = {}
        for numbers in by_task.values():
            for length, block in self._task_phrases(numbers, ngram).items():
                places.setdefault(length, []).append(block)
        self.shelves: dict[int, Shelf] = {}
        self.phrase_count = 0
        self._seen = np.zeros(MASK + 1, bool)
        for length in sorted(places):
            self._shelve(length, np.concatenate(places[length], axis=1))

    def _task_phrases(self, numbers: Sequence[int], ngram: int) -> dict[int, np.ndarray]:
        """Return length -> (hash, question, start) x phrases, without those of the task itself."""
        texts = [words(self.questions[number].text) for number in numbers]
        before, after = shared_edges(texts)
        found: dict[int, list[np.ndarray]] = {}
        for number, text in zip(numbers, texts, strict=True):
            kept = text[before : len(text) - after]
            if not kept:
                continue
            plain = plain_text(self.questions[number].text)[kept[0].start : kept[-1].end]
            ids = [self._ids.setdefault(w.text, len(self._ids) + 1) for w in kept]
            windows = Windows(np.array(ids))
            known = phrases(plain, kept, ngram)
            factor = characters_per_word([w.text for w in kept])
            self.whole[number] = len(kept) < round(factor * ngram)
            self.bare[number] = len(kept) < round(factor * min(SHORTEST, ngram))
            for length, starts in known.items():
                hashes = windows.of(length)[starts]
                rows = (hashes, np.full(len(starts), number), starts)
                block = np.stack([part.astype(np.uint64) for part in rows])
                found.setdefault(length, []).append(block)
        most = max(COMMON, int(COMMON_SHARE * len(numbers)))
        blocks = {n: self._specific(np.concatenate(b, axis=1), most) for n, b in found.items()}
        self._count_words(numbers, texts, blocks)
        return blocks

    def _specific(self, block: np.ndarray, most: int) -> np.ndarray:
        """Return the phrases that stand in ``most`` questions at most, or are all of one."""
        _, phrase = np.unique(block[0], return_inverse=True)
        questions = block[1].astype(np.int64)
        pairs = np.unique(phrase * len(self.questions) + questions)
        in_questions = np.bincount(pairs // len(self.questions))
        return block[:, (in_questions[phrase] <= most) | self.whole[questions]]

    def _count_words(
        self, numbers: Sequence[int], texts: Sequence[Sequence[Word]], blocks: dict[int, np.ndarray]
    ) -> None:
        covered = {n: np.zeros(len(t) + 1, np.int64) for n, t in zip(numbers, texts, strict=True)}
        for length, (_, questions, starts) in blocks.items():
            for number, start in zip(questions.tolist(), starts.tolist(), strict=True):
                covered[number][start] += 1
                covered[number][start + length] -= 1
        for number, steps in covered.items():
            self.known_words[number] = (np.cumsum(steps) > 0).sum()

    def _shelve(self, length: int, block: np.ndarray) -> None:
        hashes, questions, starts = block[:, np.lexsort((block[2], block[1], block[0]))]
        different, offsets = np.unique(hashes, return_index=True)
        self.shelves[length] = Shelf(
            self.phrase_count,
            different,
            np.append(offsets, len(hashes)),
            questions.astype(np.int64),
            starts.astype(np.int64),
        )
        self.phrase_count += len(different)
        self._seen[(different & np.uint64(MASK)).astype(np.int64)] = True

    def ids(self, texts: Sequence[str]) -> list[int]:
        """Return the id of each word; 0 for one that no question has."""
        known = self._ids.get
        return [known(text, 0) for text in texts]

    def hits(self, ids: Sequence[int]) -> list[Hits]:
        """Return where phrases of questions stand in a sequence of word ids."""
        windows = Windows(np.array(ids, dtype=np.int64))
        found = []
        for length, shelf in self.shelves.items():
            hashes = windows.of(length)
            at = np.flatnonzero(self._seen[(hashes & np.uint64(MASK)).astype(np.int64)])
            place = np.searchsorted(shelf.hashes, hashes[at])
            there = place < len(shelf.hashes)
            at, place = at[there], place[there]
            equal = shelf.hashes[place] == hashes[at]
            if equal.any():
                found.append(Hits(length, shelf.first + place[equal], at[equal]))
        return found

    def holders(self, length: int, phrase: int) -> list[tuple[int, int]]:
        """Return (question, its first word there) for each place of a phrase."""
        shelf = self.shelves[length]
        part = slice(shelf.offsets[phrase - shelf.first], shelf.offsets[phrase - shelf.first + 1])
        return list(zip(shelf.questions[part].tolist(), shelf.starts[part].tolist(), strict=True))
