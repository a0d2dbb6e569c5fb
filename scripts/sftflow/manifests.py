"""What a stage leaves about its output: ``manifest.json`` and ``SHA256SUMS``.

``SHA256SUMS`` (the format of sha256sum(1)) holds nothing but the payloads' digests. It is
what later stages depend on: a stage that ran again and made the same bytes leaves the same
``SHA256SUMS``, and the chain stops there, even though its settings or counts have changed.
``manifest.json`` says everything else about the output. Neither holds a time, a host, a
duration or an absolute path, so the same work leaves the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

SCHEMA = 1
SUMS = "SHA256SUMS"


def sha256_file(path: Path | str) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Return the hex SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and without spaces: equal values, equal text."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


@contextmanager
def replacing(path: Path | str):
    """Yield a path beside ``path`` to write to, and rename it over ``path`` at the end.

    Nothing is left at ``path`` and nothing beside it if the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` as indented JSON with sorted keys, whole or not at all."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_manifest(
    path: Path | str,
    *,
    stage: str,
    spec: Mapping[str, Any],
    payloads: Iterable[Path | str],
    inputs: Mapping[str, Path | str] | None = None,
    counts: Mapping[str, Any] | None = None,
    packages: Iterable[str] = (),
    also: Iterable[Path | str] = (),
    **more: Any,
) -> dict[str, Any]:
    """Write ``SHA256SUMS`` and then ``path`` (manifest.json) beside it; return the manifest.

    ``payloads`` are files in or under the manifest's folder, ``inputs`` names the files
    that the output was made from, ``packages`` the distributions whose versions shaped it.
    ``also`` are files that nobody computes with (rejected rows): they are outputs in the
    manifest but not in ``SHA256SUMS``, so that a change in them alone makes no later stage stale.
    """
    path = Path(path)
    root = path.parent
    outputs = {
        Path(p).relative_to(root).as_posix(): sha256_file(p) for p in sorted(map(Path, payloads))
    }
    sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(outputs.items()))
    outputs |= {os.path.relpath(p, root): sha256_file(p) for p in also}
    manifest = {
        "schema": SCHEMA,
        "stage": stage,
        "settings": dict(spec),
        "inputs": {name: sha256_file(p) for name, p in (inputs or {}).items()},
        "outputs": {
            name: {"sha256": digest, "bytes": (root / name).stat().st_size}
            for name, digest in outputs.items()
        },
        "counts": dict(counts or {}),
        "versions": {name: version(name) for name in sorted(packages)},
        **more,
    }
    write_text(root / SUMS, sums)
    write_json(path, manifest)
    return manifest


def read_manifest(path: Path | str) -> dict[str, Any]:
    """Return a manifest; raise ValueError with the path if it is not one."""
    try:
        manifest = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable manifest: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ValueError(f"{path} is not a manifest of schema {SCHEMA}; delete it and rerun")
    return manifest
