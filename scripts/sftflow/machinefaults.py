"""What a machine refuses, in words: a full disk, a folder that can't be written, no memory left."""

from __future__ import annotations

import errno
from collections.abc import Iterator

AGAIN = "and run again; what was finished stays"
BY_NUMBER = {
    errno.ENOSPC: f"the disk is full; free some space {AGAIN}",
    errno.EDQUOT: f"your quota of the disk is used up; free some space {AGAIN}",
    errno.EFBIG: f"a file would be larger than allowed here (ulimit -f); raise the limit {AGAIN}",
    errno.EROFS: f"the folder can only be read; choose another with --directory {AGAIN}",
    errno.EACCES: f"there is no permission; change that {AGAIN}",
    errno.EMFILE: f"too many files are open (ulimit -n); raise the limit {AGAIN}",
    errno.ENOMEM: f"no memory is left; close other programs {AGAIN}",
    errno.EIO: "the disk failed to read or write; look at the kernel's log (dmesg)",
}
# Libraries in C++ and Rust have texts of their own and no number.
BY_TEXT = {
    "no space left on device": BY_NUMBER[errno.ENOSPC],
    "database or disk is full": BY_NUMBER[errno.ENOSPC],
    # torch.save, which does not say why a write failed (seen on a full disk, torch 2.13).
    "inline_container.cc": f"torch can't write, most likely the disk is full; make room {AGAIN}",
    "disk quota exceeded": BY_NUMBER[errno.EDQUOT],
    "file too large": BY_NUMBER[errno.EFBIG],
    "read-only file system": BY_NUMBER[errno.EROFS],
    "out of memory. tried to allocate": (
        "the GPU's memory is full; lower training.per_device_train_batch_size or max_length, "
        "or set training.gradient_checkpointing: true"
    ),
    "can't allocate memory": BY_NUMBER[errno.ENOMEM],
    "cannot allocate memory": BY_NUMBER[errno.ENOMEM],
}


def machine_fault(error: BaseException) -> str | None:
    """Return what to do about an error that is the machine's, None for any other."""
    for one in _chain(error):
        if isinstance(one, MemoryError):
            return BY_NUMBER[errno.ENOMEM]
        if isinstance(one, OSError) and one.errno in BY_NUMBER:
            place = f"{one.filename}: " if isinstance(one.filename, str) else ""
            return place + BY_NUMBER[one.errno]
        said = str(one).lower()
        for sign, sentence in BY_TEXT.items():
            if sign in said:
                return sentence
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those from which it came."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
