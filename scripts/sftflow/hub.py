"""Models from the Hugging Face hub: one pinned revision, safetensors only, one way in."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sftflow.machinefaults import machine_fault
from sftflow.stage import StageError, console

PATTERNS = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.model", "*.txt")
COMMIT = re.compile(r"[0-9a-f]{40}")
# A mirror's address may hold a password, and those that the hub sends one on to hold signatures.
ADDRESS = re.compile(r"(\w+://)(?:[^\s/@'\"]*@)?([^\s?#'\")]*)(?:[?#][^\s'\")]*)?")
CLIENTS = ("httpx", "httpx2", "urllib3")


def bare_addresses(text: str) -> str:
    """Return a text whose addresses have lost name, password, query and fragment."""
    return ADDRESS.sub(r"\1\2", text)


def log_no_addresses() -> None:
    """Let the libraries that ask the hub log failed requests only, and these without secrets."""
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("huggingface_hub.utils._http").addFilter(with_bare_addresses)


def with_bare_addresses(record: logging.LogRecord) -> bool:
    """Take from a line what an address may give away, and let it be written."""
    record.msg, record.args = bare_addresses(record.getMessage()), ()
    return True


@contextmanager
def fetched_model(name: str, revision: str | None, code: bool, folder: Path) -> Iterator[Path]:
    """Yield the folder of a model's files at ``revision``; they go away at the end.

    They are kept under ``folder`` until then, so that a download that was cut off continues.
    """
    if not revision or not COMMIT.fullmatch(revision):
        raise StageError(
            f"hub model {name} needs `revision`, the 40 hex digits of a commit: a branch can "
            "change under a result"
        )
    cache = folder / ".hub" / name.replace("/", "--")
    console().say(f"fetching {name} at {revision[:12]}")
    yield Path(download(name, revision, code, cache))
    shutil.rmtree(cache)


def download(name: str, revision: str, code: bool, cache: Path, folders: bool = False) -> str:
    """Return the folder of the fetched files; raise StageError with what to do if it fails.

    Each file has the checksum that the hub names: the library itself compares sizes only. Folders
    are left out unless asked for: in those of a plain model other formats of the same
    weights lie, in those of a Sentence Transformer its parts.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HTTPError,  # of the library that asks: a connection that broke off
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    log_no_addresses()
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            cache_dir=cache,
            allow_patterns=[*PATTERNS, "*.py"] if code else list(PATTERNS),
            ignore_patterns=["onnx/*", "openvino/*"] if folders else ["*/*"],
        )
        found = HfApi().verify_repo_checksums(name, revision=revision, cache_dir=cache)
    except GatedRepoError:
        raise StageError(
            f"hub model {name} is gated: accept its licence on its page and set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise StageError(
            f"there is no hub model {name}, or it is private: check the name, or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise StageError(f"hub model {name} has no revision {revision}") from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HTTPError, OSError) as error:
        if machine_fault(error):  # a full disk
            raise
        # What is not there is told as if no connection was, whatever the hub said.
        for one in (error, error.__cause__):
            if isinstance(one, HfHubHTTPError):
                first = bare_addresses(str(one).strip().split("\n")[0])
                raise StageError(f"the hub refused {name}: {first}") from None
        if isinstance(error, HTTPError):
            raise StageError(
                f"the download of hub model {name} was cut off ({type(error).__name__}); run "
                "again, and it goes on where it ended"
            ) from None
        raise StageError(
            f"hub model {name} can't be fetched without a connection to the hub; give a local "
            f"folder instead ({type(error).__name__})"
        ) from None
    if found.mismatches:
        raise StageError(damaged(name, Path(folder), [one["path"] for one in found.mismatches]))
    return folder


def damaged(name: str, folder: Path, paths: list[str]) -> str:
    """Delete files that came otherwise than the hub has them; return what to say of that."""
    for path in paths:
        (folder / path).resolve().unlink()  # what the link in the folder leads to
        (folder / path).unlink(missing_ok=True)
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return (
        f"{paths[0]}{more} of hub model {name} came otherwise than the hub has it, by its "
        "checksum; it was deleted: run again, and it is fetched anew"
    )
