"""Texts as sets of n-grams (shingles) of tokens, hashed to 32 bits, for many texts at once.

A token is a word where the script puts spaces between words, and a character where it does not
(Chinese, Japanese, Thai, Khmer, Lao, Burmese, Yi ...), decided for each character, so a text may
mix both. Punctuation parts words and is nothing itself; other signs (+, =, %, emoji) are tokens.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

SEPARATOR, IN_WORD, ALONE = 0, 1, 2
# Blocks of scripts that are written without spaces between words (Unicode 15, Blocks.txt).
UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x3005, 0x3007),  # ideographic iteration mark and zero
    (0x3040, 0x312F),  # Hiragana, Katakana, Bopomofo
    (0x31A0, 0x31FF),  # Bopomofo and Katakana, extended
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0xA4CF),  # Han, Yi
    (0xA9E0, 0xA9FF),  # Myanmar, extended
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x20000, 0x3FFFF),
)
SIGNS = "*/%#@&\\^"  # punctuation to Unicode, but 2*3 is not 2/3
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio


@cache
def _kinds() -> np.ndarray:
    """Return for each code point what it is to a token: (0x110000,) uint8."""
    kinds = np.zeros(sys.maxunicode + 1, dtype=np.uint8)
    for code in range(0x20000):
        category = unicodedata.category(chr(code))[0]
        kinds[code] = {"L": IN_WORD, "N": IN_WORD, "M": IN_WORD, "S": ALONE}.get(category, 0)
    for low, high in UNSPACED:
        block = kinds[low : high + 1]
        block[(block == IN_WORD) | (low >= 0x20000)] = ALONE
    kinds[[ord(sign) for sign in SIGNS]] = ALONE
    return kinds


def mixed(values: np.ndarray) -> np.ndarray:
    """Return 64-bit values spread evenly (the finalizer of SplitMix64, Steele et al. 2014)."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


@lru_cache(maxsize=2)
def _powers(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first powers of ODD and of its inverse, modulo 2**64."""
    inverse = pow(int(ODD), -1, 1 << 64)
    each = (np.full(number, base, dtype=np.uint64) for base in (int(ODD), inverse))
    powers, undo = (np.cumprod(bases) for bases in each)
    return powers, undo


def _tokens(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the hashes of all tokens, (tokens,) uint64, and where each text's begin, (texts + 1,).

    The hash of a token is its polynomial in ODD, taken from sums over all characters before:
    no loop over tokens.
    """
    encoded = "\n".join(texts).encode("utf-32-le", "surrogatepass")
    codes = np.frombuffer(encoded, dtype=np.uint32).astype(np.int64)
    kinds = _kinds().take(codes)
    in_word = np.zeros(len(codes) + 2, dtype=bool)
    np.equal(kinds, IN_WORD, out=in_word[1:-1])
    alone = kinds == ALONE
    starts = np.flatnonzero(alone | (in_word[1:-1] & ~in_word[:-2]))
    ends = np.flatnonzero(alone | (in_word[1:-1] & ~in_word[2:])) + 1
    powers, undo = _powers(1 << (len(codes)).bit_length())
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    terms = mixed(codes.astype(np.uint64) + ODD)
    terms *= powers[: len(codes)]
    np.cumsum(terms, out=sums[1:])
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 1
    begins = np.searchsorted(starts, np.concatenate(([0], np.cumsum(lengths))))
    return (sums[ends] - sums[starts]) * undo[starts], begins


def shingle_sets(
    texts: Sequence[str], ngram: int, contexts: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the shingles of each text, sorted and unique, as (flat uint32, offsets int64).

    Text i has flat[offsets[i] : offsets[i + 1]]: none if it has no token, one if it has no more
    than ``ngram`` tokens. Texts of different ``contexts`` (64 bits each) share no shingle.
    """
    tokens, begins = _tokens(texts)
    of_text = np.repeat(np.arange(len(texts)), np.diff(begins))
    place = np.arange(len(tokens))
    ends, grams = begins[1:][of_text], tokens
    for ahead in range(1, ngram):
        following = np.concatenate((tokens[ahead:], np.zeros(ahead, dtype=np.uint64)))
        following = following[: len(tokens)]
        grams = np.where(place + ahead < ends, mixed(grams) * ODD + following, grams)
    if contexts is not None:
        grams = grams + np.asarray(contexts, dtype=np.uint64)[of_text]
    whole = (place + ngram <= ends) | (place == begins[:-1][of_text])
    found = mixed(grams[whole]) & np.uint64(0xFFFFFFFF)
    found = np.sort((of_text[whole].astype(np.uint64) << np.uint64(32)) | found)
    found = found[np.diff(found, prepend=np.uint64(2**64 - 1)) != 0]  # np.unique is slower
    offsets = np.searchsorted(found >> np.uint64(32), np.arange(len(texts) + 1))
    return found.astype(np.uint32), offsets


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """Return the shared part of two sets, 0 to 1; each sorted, unique and not empty."""
    both = np.sort(np.concatenate((one, other)))  # np.intersect1d takes twice as long
    shared = np.count_nonzero(both[1:] == both[:-1])
    return shared / (len(one) + len(other) - shared)
