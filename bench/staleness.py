"""What stock Snakemake would run after each edit of the table: `python bench/staleness.py`.

The same project, stages, settings and edits as tests/staleness, under plain rules: no cutoff, but
Snakemake's own triggers (time stamps, params, set of inputs, command), and each script an input of
its rule in place of the digest of its code. Each edit is made on a copy of one finished run, and a
dry run tells what would follow: stock Snakemake decides before anything runs, so that is what it
does. Writes docs/staleness-table.md.

Ours is not measured here: tests/staleness fails unless it is 0 and 0 for every edit.
"""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).parents[1]
sys.path[:0] = [str(REPO / "tests"), str(REPO / "tests/unit"), str(REPO / "scripts")]

from staleness.edit import missed, unnecessary  # noqa: E402
from staleness.edits import CONTINUED, TABLE  # noqa: E402
from staleness.project import Project  # noqa: E402

HEAD = """\
# The table of edits

Made by `python bench/staleness.py`: jobs that stock Snakemake would run after each edit of
`tests/staleness/edits.py`, made on a finished run of the small project; see that program for what
stock means. sftflow runs exactly the needed ones: `tests/staleness/test_table.py` makes the same
edits for real and fails if one job runs too many or too few. Servers are not counted.

| edit | needed | stock runs | too many | missed |
|---|---:|---:|---:|---:|
"""


def plain(project: Project) -> None:
    """Turn a project's rules into plain ones."""
    common = project.path("rules/common.smk")
    text = common.read_text(encoding="utf-8")
    own = 'DIGESTS = __import__("sftflow.digests", fromlist=["Digests"]).Digests("results/.d")\n'
    text, found = re.subn(r"DIGESTS = cutoff\.install\(.*?\n\)\n", own, text, flags=re.DOTALL)
    assert found == 1
    common.write_text(text, encoding="utf-8")
    profile = project.path("profiles/default/config.yaml")
    lines = profile.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("rerun-triggers")]
    profile.write_text("".join(kept), encoding="utf-8")
    for path in sorted((project.folder / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"\n        (code=code\([^\n]*|packages=[^\n]*),", "", text)
        text = text.replace(" --code {params.code}", "")
        text = re.sub(
            r"\nrule (\w+):\n(    \"\"\".*?\"\"\"\n)    (input:\n)?",
            lambda m: (
                f"\nrule {m[1]}:\n{m[2]}    input:\n        script=os.path.join("
                f'workflow.basedir, "scripts/{m[1]}.py"),\n' + ("" if m[3] else "    ")
            ),
            text,
            flags=re.DOTALL,
        )
        path.write_text(text, encoding="utf-8")


def copied(finished: Project, folder: Path) -> Project:
    """Return a copy of a finished project, time stamps and all."""
    subprocess.run(["cp", "-a", str(finished.folder), str(folder)], check=True)
    made = Project.__new__(Project)
    made.folder, made.config, made.warm = folder, copy.deepcopy(finished.config), None
    return made


def main() -> None:
    """Run the plain project once, plan after each edit, write the table."""
    rows, sums = [], [0, 0, 0, 0]
    with tempfile.TemporaryDirectory() as folder:
        finished = Project(Path(folder, "project"))
        plain(finished)
        sys.stderr.write("a first run of the plain project\n")
        finished.run()
        if finished.planned():
            raise SystemExit(f"the plain project is not finished: {finished.planned()}")
        for edit in (edit for edit in TABLE if edit.name not in CONTINUED):
            finished.folder.rename(Path(folder, "kept"))
            kept, finished.folder = finished.folder, Path(folder, "kept")
            project = copied(finished, kept)  # at the same place: a plain rule knows its path
            edit.make(project)
            ran = project.planned(**edit.environment(project))
            told = unnecessary(ran, edit.stale | edit.may), missed(ran, edit.stale)
            counts = [len(edit.stale), len(ran), *map(len, told)]
            rows.append(f"| {edit.name} | {' | '.join(map(str, counts))} |\n")
            sums = [a + b for a, b in zip(sums, counts, strict=True)]
            sys.stderr.write(rows[-1])
            shutil.rmtree(kept)
            finished.folder.rename(kept)
            finished.folder = kept
    total = f"| **{len(rows)} edits** | {' | '.join(f'**{n}**' for n in sums)} |\n"
    text = HEAD + "".join(rows) + total
    (REPO / "docs/staleness-table.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
