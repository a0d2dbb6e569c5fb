"""Import transformers' models without a package that it brings along and nobody here uses."""

import sys


def import_models() -> None:
    """Import what all of transformers' models rest on, but scikit-learn.

    transformers asks it for one function of assisted generation, wherever it is installed (lm-eval
    needs it). That is a fifth of the seconds of processor time that a model's classes cost each
    process: 6.3 -> 4.9 s at 2.3 GHz. Whoever imports scikit-learn later gets it.
    """
    if "transformers.generation.candidate_generator" in sys.modules or "sklearn" in sys.modules:
        return
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # to Python: not to be found
    try:
        import transformers.generation.candidate_generator  # noqa: F401
    finally:
        del sys.modules["sklearn"]
