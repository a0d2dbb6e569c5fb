"""Import transformers' models without a package that they bring along and nobody here uses.

transformers asks scikit-learn for one function of assisted generation, wherever it is installed
(lm-eval needs it). That is a fifth of what a model's classes cost each process: 6.3 -> 4.9 s of
processor time at 2.3 GHz. Whoever imports scikit-learn later gets it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

ASKS = "transformers.generation.candidate_generator"


@contextmanager
def without_sklearn() -> Iterator[None]:
    """Let whatever is imported in the block find no scikit-learn, unless it is there already."""
    if "sklearn" in sys.modules:
        yield
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # to Python: not to be found
    try:
        yield
    finally:
        del sys.modules["sklearn"]


def import_models() -> None:
    """Import what all of transformers' models rest on, but scikit-learn."""
    with without_sklearn():
        __import__(ASKS)
