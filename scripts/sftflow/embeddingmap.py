"""Where the prompts of a dataset lie by what they mean: a sample of them in the plane."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

MOST = 2000  # prompts drawn: a picture of more dots shows no more
FEWEST = 10
PERPLEXITY = 30  # scikit-learn's default; of neighbours, so it must be less than the points
CHARS = 2000  # of a prompt that are embedded: the map is a picture, not a measure


def sampled(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (id, source, prompt) of at most ``MOST`` records, the same for the same rows.

    Ids are hashes of what a row says, so the smallest are a fair draw.
    """
    prompts = (
        (record["id"], record["source"], asked)
        for record in records
        if (asked := "\n".join(m["content"] for m in record["messages"] if m["role"] == "user"))
    )
    return [(name, source, asked[:CHARS]) for name, source, asked in heapq.nsmallest(MOST, prompts)]


def placed(vectors: np.ndarray) -> np.ndarray:
    """Return (n, 2) places of n vectors (n, d), near ones near each other, within -1 and 1.

    t-SNE (van der Maaten and Hinton 2008, JMLR 9:2579), begun from the principal components, so
    that one machine always draws the same map. Axes and distances between groups mean nothing.
    """
    from sklearn.manifold import TSNE

    unlike = len(np.unique(vectors, axis=0))
    if len(vectors) < FEWEST or unlike < FEWEST:
        raise ValueError(f"a map takes {FEWEST} different vectors or more")
    perplexity = min(PERPLEXITY, (len(vectors) - 1) / 3)
    found = TSNE(init="pca", perplexity=perplexity, random_state=0, n_jobs=1).fit_transform(vectors)
    found = found - (found.max(axis=0) + found.min(axis=0)) / 2
    return found / np.abs(found).max()
