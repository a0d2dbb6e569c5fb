"""The table: an edit -> the exact set of jobs that must run after it, and no others.

The edits are made one after the other on one project (project.py), so each starts from a
finished run of the one before. ``expected`` are jobs as "rule wildcards"; a name from GROUPS
stands for several. What is expected follows from what each stage reads, and from whether its
bytes come out differently; no number here was copied from a run.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from staleness.project import REPO, Project, prompt

KEY = "*"  # the templated key; there is one at a time
RUN, BASE = "s.r-2", "t"


def measured(model: str) -> set[str]:
    """Return the jobs that measure one model and score what it said."""
    return {
        f"measure_latency {model}",
        f"run_benchmark {model} q",
        f"generate_answers {model}",
        f"score_answers {model}",
        f"measure_loss {model}",
    }


TOLD = {"summarize_results", "build_report"}
PAGES = {"report_dataset d", "build_report"}
# A model that changed a little may answer as before: then its scores stand.
ANSWERS = {f"score_answers {BASE}", f"score_answers {RUN}"}
TRAINED = {f"train_adapter {RUN}", f"merge_adapter {RUN}"}
JUDGED = f"judge_run {RUN}"


@dataclass(frozen=True)
class Edit:
    """One change by a user, and what must run after it."""

    name: str
    make: Callable[[Project], object]
    expected: set[str] = field(default_factory=set)
    may: set[str] = field(default_factory=set)  # depends on what a model happens to answer
    environment: Callable[[Project], dict[str, str]] = lambda _: {}
    targets: tuple[str, ...] = ()
    # All that would run if everything were asked for, where less is.
    stale: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Let everything that is stale be what runs, unless something else is said."""
        object.__setattr__(self, "stale", self.stale or self.expected)


def _set(*keys: str | int, to: object) -> Callable[[Project], None]:
    """Return an edit of the config."""

    def make(project: Project) -> None:
        place = project.config
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        project.write_config()

    return make


def _drop(*keys: str) -> Callable[[Project], None]:
    """Return an edit that takes a key out of the config."""

    def make(project: Project) -> None:
        place = project.config
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]
        project.write_config()

    return make


def _append(name: str, text: str) -> Callable[[Project], None]:
    return lambda project: project.append(name, text)


def _replace(name: str, old: str, new: str) -> Callable[[Project], None]:
    return lambda project: project.replace(name, old, new)


def _cut(project: Project, name: str, text: str) -> None:
    """Take text out of a file."""
    project.replace(name, text, "")


def _write(name: str, text: str) -> Callable[[Project], object]:
    return lambda project: (project.folder / name).write_text(text)


def _delete(name: str) -> Callable[[Project], None]:
    return lambda project: project.delete(name)


def _damage(name: str) -> Callable[[Project], None]:
    return lambda project: project.damage(name)


def _reorder_keys(project: Project) -> None:
    def turned(value):
        if isinstance(value, dict):
            return {k: turned(v) for k, v in reversed(value.items())}
        return value

    runs = project.config["runs"]
    project.config = {k: turned(v) for k, v in reversed(project.config.items())}
    project.config["runs"] = runs
    project.write_config()


def _touch_everything(project: Project) -> None:
    later = time.time() + 60
    for path in project.folder.rglob("*"):
        if ".snakemake" not in path.parts:
            os.utime(path, (later, later))


def _raw_files(old: str, new: str) -> Callable[[Project], None]:
    """Return an edit that moves the folder of raw files, and renames what is in no result."""

    def move(project: Project) -> None:
        (project.folder / old).rename(project.folder / new)
        text = json.dumps(project.config).replace(f'"{old}/', f'"{new}/')
        project.config = json.loads(text)
        for kind, place in (("texts", "general"), ("generation", "prompts")):
            path = Path(project.config[kind][place])
            name = path.name.removeprefix("my-") if new == "raw" else f"my-{path.name}"
            (project.folder / path).rename(project.folder / path.with_name(name))
            project.config[kind][place] = str(path.with_name(name))
        project.write_config()

    return move


def _move_deeper(project: Project) -> None:
    """Copy repository and results to a deeper folder, with new time stamps; go on there."""
    there = project.folder / "a fresh/copy"
    parts = [p for p in project.folder.iterdir() if p.name not in (".snakemake", "a fresh")]
    there.mkdir(parents=True)
    for part in parts:
        if part.is_dir():
            shutil.copytree(part, there / part.name, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(part, there / part.name)
    project.folder = there


def _other_package(project: Project) -> dict[str, str]:
    """Return an environment in which another version of sacrebleu is installed."""
    about = project.folder / "other/sacrebleu-99.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sacrebleu\nVersion: 99.0\n")
    return {"PYTHONPATH": str(about.parent)}


def _template_start() -> str:
    """Return the first line of the shipped chat template."""
    return (REPO / "config/templates/chatml.jinja").read_text().splitlines()[0]


def _rows(project: Project) -> list[str]:
    return project.path("raw/a.jsonl").read_text().splitlines(keepends=True)


def _write_rows(project: Project, rows: list[str]) -> None:
    project.path("raw/a.jsonl").write_text("".join(rows))


def _first_row(project: Project) -> str:
    return _rows(project)[0]


def _swap_rows(project: Project) -> None:
    """Let two rows of the training part change places."""
    first, second = _training_rows(project)[:2]
    rows = _rows(project)
    rows[first], rows[second] = rows[second], rows[first]
    _write_rows(project, rows)


def _training_rows(project: Project) -> list[int]:
    """Return the places in raw/a.jsonl of rows in the training part."""
    import pyarrow.parquet as pq

    rows = pq.read_table(project.path("results/datasets/d/train.parquet")).to_pylist()
    return sorted(row["row"] - 1 for row in rows if row["source"] == "a")


def _change_training_row(project: Project) -> None:
    """Change the answer of a row that lies in the training part."""
    row, lines = _training_rows(project)[0], _rows(project)
    changed = re.sub(r'("output":\s+")', r"\1well, ", lines[row])
    assert changed != lines[row]
    lines[row] = changed
    _write_rows(project, lines)


def _training_row_as_it_was(project: Project) -> None:
    rows = [row.replace("well, ", "") for row in _rows(project)]
    assert rows != _rows(project)
    _write_rows(project, rows)


def _base_as_folder(project: Project) -> None:
    """Give the base that was made here as a folder, as a user gives one of theirs."""
    shutil.copytree(project.path("results/models/t"), project.folder / "raw/base")
    project.config["bases"]["t"] = {"path": "raw/base", "template": "raw/chat.jinja"}
    project.write_config()


def _nudge_a_weight(project: Project) -> None:
    """Change one weight of the base's folder; keep the file as it was beside it."""
    from safetensors.torch import load_file, save_file

    path = project.path("raw/base/model.safetensors")
    weights = load_file(path)
    path.rename(project.folder / "raw/as-it-was.safetensors")
    weights["model.norm.weight"][0] += 0.5
    save_file(weights, path, metadata={"format": "pt"})


def _weights_as_they_were(project: Project) -> None:
    project.path("raw/as-it-was.safetensors").rename(project.path("raw/base/model.safetensors"))


def _rename_local(project: Project) -> None:
    path = project.path("scripts/sftflow/splitting.py")
    text = path.read_text()
    import ast

    # a variable of the first function that binds one, renamed by its place in the tree
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            names = [
                n
                for n in ast.walk(function)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
            ]
            if names:
                name = names[0].id
                places = sorted(
                    {
                        (n.lineno, n.col_offset)
                        for n in ast.walk(function)
                        if isinstance(n, ast.Name) and n.id == name
                    },
                    reverse=True,
                )
                lines = text.splitlines(keepends=True)
                for line, column in places:
                    row = lines[line - 1]
                    after = row[column + len(name) :]
                    lines[line - 1] = row[:column] + "renamed_local" + after
                path.write_text("".join(lines))
                return
    raise AssertionError("no function with a local variable")


def _interrupted(project: Project) -> None:
    """Delete two results; begin to make them; end Snakemake once the first is there again."""
    project.delete("results/sources/a/records.parquet")
    project.delete("results/report.html")
    done = project.snakemake("--cores", "1", "--until", "ingest_source")
    assert done.returncode == 0, done.stderr
    assert Path(project.path("results/sources/a/records.parquet")).exists()
    assert not (project.folder / "results/report.html").exists()


def _renamed_source_file(project: Project) -> None:
    project.path("raw/b.csv").rename(project.path("raw") / "c.csv")
    project.config["sources"]["b"]["path"] = "raw/c.csv"
    project.write_config()


STEPS = ("datasets", "d", "clean")

NOTHING = [
    Edit("nothing", lambda _: None),
    Edit("comment in the config", _append("config/config.yaml", "\n# why\n")),
    Edit("keys reordered", _reorder_keys),
    Edit("a default written out", _set("datasets", "d", "max_rejected_fraction", to=0.9)),
    Edit("a default of a run written out", _set("runs", "s", "training", "seed", to=0)),
    Edit("a description added", _set("runs", "s", "description", to="the small one")),
    Edit("a source that nothing uses", _set("sources", "z", to={"path": "raw/a.jsonl"})),
    Edit("comment in a script", _append("scripts/train_adapter.py", "\n# nothing\n")),
    Edit(
        "docstring in a shared module",
        _replace(
            "scripts/sftflow/manifests.py",
            '"""Return the hex SHA-256 of a file',
            '"""Give the hex SHA-256 of a file',
        ),
    ),
    Edit(
        "formatting of a shared module",
        _replace("scripts/sftflow/manifests.py", 'SUMS = "SHA256SUMS"', "SUMS   =   'SHA256SUMS'"),
    ),
    Edit("a local variable renamed", _rename_local),
    Edit("comment in a rule file", _append("rules/train.smk", "\n\n# nothing\n")),
    Edit(
        "layout of a rule's command",
        _replace("rules/report.smk", " --results results --html", "  --results results   --html"),
    ),
    Edit("comment in a task file", _append("raw/tasks/qa.yaml", "# nothing\n")),
    Edit(
        "comment in a list of phrases, empty line in the prompts",
        lambda p: (
            p.append("scripts/lists/phrases.yaml", "# nothing\n"),
            p.append("raw/prompts.jsonl", "\n"),
        ),
    ),
    Edit("a task file that no suite names", _append("config/tasks/tickets_json.yaml", "\nx: 1\n")),
    Edit("touch of everything", _touch_everything),
    Edit(
        "logs and durations deleted",
        lambda p: (p.delete("results/logs"), p.delete("results/benchmarks")),
    ),
    Edit("Snakemake's own records deleted", _delete(".snakemake")),
    Edit("a fresh copy, deeper, with new time stamps", _move_deeper),
    Edit("versions not asked any more", _set("track_versions", to=False)),
    Edit("another version, not asked", lambda _: None, environment=_other_package),
    Edit("versions asked again", _set("track_versions", to=True)),
    Edit("a server option that shapes no answer", _set("serve", to={"start_timeout_s": 800})),
]

# The answer is not like that of any other row, and no cleaning step minds it.
NEW_ROW = '{"instruction": "Say where the river goes", "output": "to the sea"}\n'
SPLIT = {"ingest_source a", "clean_dataset d", "split_dataset d", "find_contamination d"}
DATA = {*SPLIT, "report_dataset d"}
GROUPED = {"ingest_source a", "clean_dataset d", "split_dataset d"}
TOKENS = {"template_data *"}
TO_TOKENS = ("data", "tokens")
# Both models' losses are measured on training rows too.
RETRAINED = {*TRAINED, *measured(RUN), f"measure_loss {BASE}", JUDGED, *TOLD}
EVERYTHING = {
    "ingest_source a",
    "ingest_source b",
    "clean_dataset d",
    "split_dataset d",
    "find_contamination d",
    *PAGES,
    f"prepare_base {BASE}",
    *TOKENS,
    *TRAINED,
    *measured(BASE),
    *measured(RUN),
    JUDGED,
    *TOLD,
}

STOPPED = [
    # The page names the files of the sources.
    Edit("raw files, texts and tasks moved", _raw_files("raw", "input"), {"build_report"}),
    Edit("moved back", _raw_files("input", "raw"), {"build_report"}),
    Edit(
        "white space in a raw file",
        lambda p: p.path("raw/a.jsonl").write_text(
            p.path("raw/a.jsonl").read_text().replace('": "', '":  "')
        ),
        {"ingest_source a"},
    ),
    Edit(
        "a duplicate row at the end",
        lambda p: p.append("raw/a.jsonl", _first_row(p)),
        {"ingest_source a", "clean_dataset d", *PAGES},
    ),
    Edit(
        "a cleaning step that finds nothing",
        _set(*STEPS, 1, "max_answer_chars", to=4000),
        {"clean_dataset d", *PAGES},
    ),
    Edit(
        "the step off and on again",
        _set(*STEPS, 1, "max_answer_chars", to=8192),
        {"clean_dataset d", *PAGES},
    ),
    Edit(
        "a row added",
        lambda p: p.append("raw/a.jsonl", NEW_ROW),
        {*DATA, *TOKENS},
        targets=TO_TOKENS,
        stale={*DATA, *TOKENS, *RETRAINED},
    ),
    Edit(
        "the row taken back before a training saw it",
        lambda p: _write_rows(p, [row for row in _rows(p) if row != NEW_ROW]),
        {*DATA, *TOKENS},
    ),
    Edit(
        "a training row changed",
        _change_training_row,
        {*DATA, *TOKENS},
        targets=TO_TOKENS,
        stale={*DATA, *TOKENS, *RETRAINED},
    ),
    Edit("the row as it was", _training_row_as_it_was, {*DATA, *TOKENS}),
    Edit(
        "two rows change places",
        _swap_rows,
        {*DATA, *TOKENS},
        targets=TO_TOKENS,
        stale={*DATA, *TOKENS, *RETRAINED},
    ),
    Edit("the rows put back in their places", _swap_rows, {*DATA, *TOKENS}),
    Edit(
        "a real change in a module that every stage imports",
        _append("scripts/sftflow/manifests.py", "\nUNUSED = 1\n"),
        {*SPLIT, "ingest_source b"},
        targets=("data",),
        stale=EVERYTHING,
    ),
    Edit(
        "the change taken back",
        lambda p: _cut(p, "scripts/sftflow/manifests.py", "\nUNUSED = 1\n"),
        {*SPLIT, "ingest_source b"},
    ),
    # The page tells where a base came from.
    Edit(
        "the base given as a folder",
        _base_as_folder,
        {f"prepare_base {BASE}", "build_report"},
    ),
    Edit("a model card in the base's folder", _write("raw/base/README.md", "# A model\n")),
    Edit(
        "a weight in the base's folder",
        _nudge_a_weight,
        {f"prepare_base {BASE}", *TRAINED},
        targets=("models",),
        stale={f"prepare_base {BASE}", *RETRAINED, *measured(BASE)},
    ),
    Edit("the weight as it was", _weights_as_they_were, {f"prepare_base {BASE}", *TRAINED}),
    Edit(
        "a real change in a module that one stage imports",
        _append("scripts/sftflow/splitting.py", "\nUNUSED = 1\n"),
        {"split_dataset d"},
    ),
    Edit(
        "a threshold of the verdicts on a training",
        _replace("scripts/sftflow/diagnosis.py", "LEAST_FALL = 0.05", "LEAST_FALL = 0.0501"),
        {JUDGED},
    ),
    Edit("a payload deleted", _delete("results/datasets/d/train.parquet"), {"split_dataset d"}),
    Edit("a manifest deleted", _delete("results/datasets/d/manifest.json"), {"split_dataset d"}),
    Edit("sums deleted", _delete(f"results/models/{RUN}/SHA256SUMS"), {f"merge_adapter {RUN}"}),
    Edit("the report deleted", _delete("results/report.html"), {"build_report"}),
    Edit("the summary deleted", _delete("results/summary.csv"), {"summarize_results"}),
    Edit("scores deleted", _delete(f"results/eval/{BASE}/scores.json"), {f"score_answers {BASE}"}),
    Edit(
        "records damaged",
        _damage("results/datasets/d/cleaned/records.parquet"),
        {"clean_dataset d"},
    ),
    Edit(
        "rejected rows damaged", _damage("results/datasets/d/rejected.parquet"), {"clean_dataset d"}
    ),
    Edit("tokens damaged", _damage("results/templated/*/train.parquet"), {"template_data *"}),
    Edit(
        "merged weights damaged",
        _damage(f"results/models/{RUN}/model.safetensors"),
        {f"merge_adapter {RUN}"},
    ),
    Edit("adapter deleted", _delete(f"results/runs/{RUN}/adapter"), {f"train_adapter {RUN}"}),
    Edit(
        "how benchmark questions are looked for",
        _set("datasets", "d", "decontaminate", to={"ngram": 12}),
        {"find_contamination d", *PAGES},  # the page of all shows the settings
    ),
    Edit(
        "rows with benchmark questions dropped, and there are none",
        _set("datasets", "d", "decontaminate", to={"ngram": 12, "action": "drop"}),
        {"mix_dataset d", "template_data *", *PAGES},
    ),
    Edit(
        "benchmark questions as before",
        _drop("datasets", "d", "decontaminate"),
        {"find_contamination d", *PAGES, "template_data *"},
    ),
    Edit(
        "the mix of the sources",
        _set("datasets", "d", "mix", to={"b": {"ratio": 0.2}}),
        {"mix_dataset d", "report_dataset d", *TOKENS},
        targets=("tokens",),
        stale={"mix_dataset d", "report_dataset d", *TOKENS, *RETRAINED},
    ),
    Edit(
        "no mix again, before a training saw it",
        _drop("datasets", "d", "mix"),
        {"report_dataset d", *TOKENS},
    ),
    # Every row in a group of its own: the same rows on each side, so the same tokens.
    Edit(
        "a group column switched on",
        _set("sources", "a", "columns", to={"group": "instruction"}),
        {*GROUPED, *TOKENS},
        targets=("models",),
        stale={*DATA, *TOKENS, *RETRAINED},
    ),
    Edit(
        "the group column off again",
        _drop("sources", "a", "columns"),
        {*GROUPED, *TOKENS},
    ),
    Edit("an interrupted run continued", _interrupted, {"build_report"}),
    Edit("the page's title", _set("title", to="smaller"), {"build_report"}),
    Edit(
        "another version of a package",
        lambda _: None,
        {f"score_answers {BASE}", f"score_answers {RUN}", *TOLD},
        environment=_other_package,
    ),
    Edit(
        "the package as it was",
        lambda _: None,
        {f"score_answers {BASE}", f"score_answers {RUN}", *TOLD},
    ),
]

CHANGED = [
    Edit(
        "a held-out text, and how many rows may be recited",
        lambda p: (
            p.append("raw/general.txt", "The dog sat too."),
            _set("memorisation", to={"rows": 5})(p),
        ),
        {f"measure_loss {BASE}", f"measure_loss {RUN}", JUDGED, *TOLD},
    ),
    Edit(
        "the metrics of a dataset",
        _set("datasets", "d", "metrics", to=["exact_match"]),
        {f"score_answers {BASE}", f"score_answers {RUN}", *TOLD},
    ),
    Edit(
        "a prompt set, a task, and the latency grid",
        lambda p: (
            p.append("raw/prompts.jsonl", prompt("Say 8 twice")),
            p.replace("raw/tasks/qa.yaml", "max_gen_toks: 4", "max_gen_toks: 5"),
            _set("latency", "requests_per_cell", to=3)(p),
        ),
        {
            f"{rule} {model}{end}"
            for rule, end in (
                ("measure_latency", ""),
                ("run_benchmark", " q"),
                ("generate_answers", ""),
                ("score_answers", ""),
            )
            for model in (BASE, RUN)
        }
        | TOLD,
    ),
    Edit(
        "a new run in the sweep",
        _set("runs", "s", "sweep", to={"lora.r": [2, 4]}),
        {
            *("train_adapter s.r-4", "merge_adapter s.r-4", "judge_run s.r-4"),
            *measured("s.r-4"),
            *TOLD,
        },
    ),
    Edit("a run removed", _set("runs", "s", "sweep", to={"lora.r": [2]}), TOLD),
    Edit(
        "the learning rate",
        _set("runs", "s", "training", "learning_rate", to=0.01),
        {*TRAINED, *(measured(RUN) - ANSWERS), JUDGED, *TOLD},
        may=ANSWERS,
    ),
    Edit(
        "the chat template",
        _replace(
            "raw/chat.jinja",
            _template_start(),
            "{#- other bytes, same tokens -#}" + _template_start(),
        ),
        {
            f"prepare_base {BASE}",
            "template_data *",
            f"merge_adapter {RUN}",
            "report_dataset d",  # it shows the manifest, which names the template's digest
            *((measured(RUN) | measured(BASE)) - ANSWERS),
            *TOLD,
        },
        may=ANSWERS,
    ),
]


TABLE = [*NOTHING, *STOPPED, *CHANGED]

# These undo the edit before them, or are made by running sftflow: no edits of stock Snakemake's.
CONTINUED = {
    "moved back",
    "the step off and on again",
    "the row taken back before a training saw it",
    "the row as it was",
    "the rows put back in their places",
    "the change taken back",
    "a model card in the base's folder",
    "a weight in the base's folder",
    "the weight as it was",
    "the package as it was",
    "benchmark questions as before",
    "no mix again, before a training saw it",
    "the group column off again",
    "a run removed",
    "an interrupted run continued",
}


def missed(ran: Iterable[str], expected: Iterable[str]) -> set[str]:
    """Return the expected jobs that did not run; ``*`` in a job stands for any text."""
    ran = list(ran)
    return {job for job in expected if not any(fnmatch.fnmatchcase(one, job) for one in ran)}


def unnecessary(ran: Iterable[str], expected: Iterable[str]) -> set[str]:
    """Return the jobs that ran though they need not."""
    expected = list(expected)
    return {one for one in ran if not any(fnmatch.fnmatchcase(one, job) for job in expected)}
