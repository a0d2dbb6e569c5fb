"""A model folder whose files are damaged or say what they can't, in a sentence.

transformers, tokenizers and huggingface_hub raise whatever comes up in their depths: TypeError,
KeyError, a plain Exception of tokenizers' Rust, a validation error of a config's field.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sftflow.machinefaults import machine_fault
from sftflow.plainlines import one_line
from sftflow.remotecode import told_if_refused
from sftflow.stage import StageError

MOST_SAID = 200  # characters of what a library says
PANIC = "PanicException"  # of Rust; no Exception, lest anybody catch it


@contextmanager
def told_if_unreadable(name: str, part: str) -> Iterator[None]:
    """Turn what a library raises about ``part`` of the model ``name`` into StageError.

    A refusal to run the model's code has its own sentence, and what the machine lacks is left
    as it is.
    """
    try:
        with told_if_refused(name):
            yield
    except BaseException as error:
        known = isinstance(error, Exception) or type(error).__name__ == PANIC
        if not known or isinstance(error, StageError) or machine_fault(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = one_line(" ".join(lines[:2])[:MOST_SAID])
        raise StageError(
            f"{name}: {part} can't be read: {type(error).__name__}: {said}; fetch the model again, "
            "or mend the file"
        ) from error
