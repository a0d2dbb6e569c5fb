"""Edits of scripts, modules, rule files, and other versions of packages."""

from __future__ import annotations

from staleness.changes import append, cut, other_package, rename_local, replace, set_key
from staleness.edit import Edit
from staleness.jobs import ANSWERS, EVERYTHING, JUDGED, SPLIT, TOLD_OF_PACKAGES

SAME = [
    Edit(  # and a module that no run here asks for
        "comment in a script",
        lambda p: (
            p.append("scripts/train_adapter.py", "\n# nothing\n"),
            p.append("scripts/sftflow/ewc.py", "\nUNUSED = 1\n"),
        ),
    ),
    Edit(
        "docstring in a shared module",
        replace(
            "scripts/sftflow/manifests.py",
            '"""Return the hex SHA-256 of a file',
            '"""Give the hex SHA-256 of a file',
        ),
    ),
    Edit(
        "formatting of a shared module",
        replace("scripts/sftflow/manifests.py", 'SUMS = "SHA256SUMS"', "SUMS   =   'SHA256SUMS'"),
    ),
    Edit("a local variable renamed", rename_local),
    Edit("comment in a rule file", append("rules/train.smk", "\n\n# nothing\n")),
    Edit(
        "layout of a rule's command",
        replace("rules/report.smk", " --results results --html", "  --results results   --html"),
    ),
]

VERSIONS = [
    Edit("versions not asked any more", set_key("track_versions", to=False)),
    Edit("another version, not asked", lambda _: None, environment=other_package),
    Edit("versions asked again", set_key("track_versions", to=True)),
]

CHANGED = [
    Edit(
        "a real change in a module that every stage imports",
        append("scripts/sftflow/manifests.py", "\nUNUSED = 1\n"),
        {*SPLIT, "ingest_source b"},
        targets=("data",),
        stale=EVERYTHING,
    ),
    Edit(
        "the change taken back",
        lambda p: cut(p, "scripts/sftflow/manifests.py", "\nUNUSED = 1\n"),
        {*SPLIT, "ingest_source b"},
    ),
    Edit(
        "a real change in a module that one stage imports",
        append("scripts/sftflow/splitting.py", "\nUNUSED = 1\n"),
        {"split_dataset d"},
    ),
    Edit(
        "a threshold of the verdicts on a training",
        replace("scripts/sftflow/diagnosis.py", "LEAST_FALL = 0.05", "LEAST_FALL = 0.0501"),
        {JUDGED},
    ),
    Edit(
        "another version of a package",
        lambda _: None,
        {*ANSWERS, *TOLD_OF_PACKAGES},
        environment=other_package,
    ),
    Edit(
        "the package as it was",
        lambda _: None,
        {*ANSWERS, *TOLD_OF_PACKAGES},
    ),
]
