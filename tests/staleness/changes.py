"""What a user may do to a project: the edits that the table of edits.py is made of."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Thread

from embedding_fixture import write_embedding_model
from generator_fixture import Server, asked

from staleness.project import REPO, Project, prompt


def set_key(*keys: str | int, to: object) -> Callable[[Project], None]:
    """Return an edit of the config."""

    def make(project: Project) -> None:
        place = project.config
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        project.write_config()

    return make


def drop_key(*keys: str) -> Callable[[Project], None]:
    """Return an edit that takes a key out of the config."""

    def make(project: Project) -> None:
        place = project.config
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]
        project.write_config()

    return make


def append(name: str, text: str) -> Callable[[Project], None]:
    return lambda project: project.append(name, text)


def replace(name: str, old: str, new: str) -> Callable[[Project], None]:
    return lambda project: project.replace(name, old, new)


def cut(project: Project, name: str, text: str) -> None:
    """Take text out of a file."""
    project.replace(name, text, "")


def write(name: str, text: str) -> Callable[[Project], object]:
    return lambda project: (project.folder / name).write_text(text)


def delete(name: str) -> Callable[[Project], None]:
    return lambda project: project.delete(name)


def damage(name: str) -> Callable[[Project], None]:
    return lambda project: project.damage(name)


def reorder_keys(project: Project) -> None:
    def turned(value):
        if isinstance(value, dict):
            return {k: turned(v) for k, v in reversed(value.items())}
        return value

    runs = project.config["runs"]
    project.config = {k: turned(v) for k, v in reversed(project.config.items())}
    project.config["runs"] = runs
    project.write_config()


def touch_everything(project: Project) -> None:
    later = time.time() + 60
    for path in project.folder.rglob("*"):
        if ".snakemake" not in path.parts:
            os.utime(path, (later, later))


def raw_files(old: str, new: str) -> Callable[[Project], None]:
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


def move_deeper(project: Project) -> None:
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


def other_package(project: Project) -> dict[str, str]:
    """Return an environment in which another version of sacrebleu is installed."""
    about = project.folder / "other/sacrebleu-99.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sacrebleu\nVersion: 99.0\n")
    return {"PYTHONPATH": str(about.parent)}


def template_start() -> str:
    """Return the first line of the shipped chat template."""
    return (REPO / "config/templates/chatml.jinja").read_text().splitlines()[0]


def rows_of_a(project: Project) -> list[str]:
    return project.path("raw/a.jsonl").read_text().splitlines(keepends=True)


def write_rows(project: Project, rows: list[str]) -> None:
    project.path("raw/a.jsonl").write_text("".join(rows))


def first_row(project: Project) -> str:
    return rows_of_a(project)[0]


def swap_rows(project: Project) -> None:
    """Let two rows of the training part change places."""
    first, second = training_rows(project)[:2]
    rows = rows_of_a(project)
    rows[first], rows[second] = rows[second], rows[first]
    write_rows(project, rows)


def training_rows(project: Project) -> list[int]:
    """Return the places in raw/a.jsonl of rows in the training part."""
    import pyarrow.parquet as pq

    rows = pq.read_table(project.path("results/datasets/d/train.parquet")).to_pylist()
    return sorted(row["row"] - 1 for row in rows if row["source"] == "a")


def change_training_row(project: Project) -> None:
    """Change the answer of a row that lies in the training part."""
    row, lines = training_rows(project)[0], rows_of_a(project)
    changed = re.sub(r'("output":\s+")', r"\1well, ", lines[row])
    assert changed != lines[row]
    lines[row] = changed
    write_rows(project, lines)


def training_row_as_it_was(project: Project) -> None:
    rows = [row.replace("well, ", "") for row in rows_of_a(project)]
    assert rows != rows_of_a(project)
    write_rows(project, rows)


def base_as_folder(project: Project) -> None:
    """Give the base that was made here as a folder, as a user gives one of theirs."""
    shutil.copytree(project.path("results/models/t"), project.folder / "raw/base")
    project.config["bases"]["t"] = {"path": "raw/base", "template": "raw/chat.jinja"}
    project.write_config()


def nudge_a_weight(project: Project) -> None:
    """Change one weight of the base's folder; keep the file as it was beside it."""
    from safetensors.torch import load_file, save_file

    path = project.path("raw/base/model.safetensors")
    weights = load_file(path)
    path.rename(project.folder / "raw/as-it-was.safetensors")
    weights["model.norm.weight"][0] += 0.5
    save_file(weights, path, metadata={"format": "pt"})


def weights_as_they_were(project: Project) -> None:
    project.path("raw/as-it-was.safetensors").rename(project.path("raw/base/model.safetensors"))


def rename_local(project: Project) -> None:
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


def interrupted(project: Project) -> None:
    """Delete two results; begin to make them; end Snakemake once the first is there again."""
    project.delete("results/sources/a/records.parquet")
    project.delete("results/report.html")
    done = project.snakemake("--cores", "1", "--until", "ingest_source")
    assert done.returncode == 0, done.stderr
    assert Path(project.path("results/sources/a/records.parquet")).exists()
    assert not (project.folder / "results/report.html").exists()


def renamed_source_file(project: Project) -> None:
    project.path("raw/b.csv").rename(project.path("raw") / "c.csv")
    project.config["sources"]["b"]["path"] = "raw/c.csv"
    project.write_config()


@cache
def generator() -> str:
    """Return the address of a server, started once, whose answer follows from the prompt."""
    server = Server(lambda body: f"That is what you get if you {asked(body).lower()}, and more.")
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"


def made_source(project: Project) -> None:
    """Ask a model for rows, and train on them too."""
    lines = [prompt(f"Draw {n} {what}") for n, what in enumerate(("cats", "dogs", "trees"))]
    (project.folder / "raw/seeds.jsonl").write_text("".join(lines))
    asked_for = {
        "method": "best_of_n",
        "from": "raw/seeds.jsonl",
        "candidates": 2,
        "rank": "longest",
        "endpoint": {"base_url": generator(), "model": "teacher"},
    }
    project.config["sources"]["m"] = {"make": asked_for}
    project.config["datasets"]["d"]["sources"] = ["a", "b", "m"]
    project.write_config()


def semantic_step(project: Project) -> None:
    """Look for rows that mean the same; texts of other words are none."""
    made = write_embedding_model(project.folder / "raw/bert")
    step = {"step": "semantic_duplicates", "model": f"raw/bert/{made.name}", "threshold": 1.0}
    project.config["datasets"]["d"]["clean"].append(step)
    project.write_config()


def move_embedding_model(project: Project) -> None:
    """Let the folder of the embedding model lie elsewhere, and give it a card."""
    folder = project.folder / "raw/models"
    (project.folder / "raw/bert").rename(folder)
    (folder / "model/README.md").write_text("# B\n")
    step = project.config["datasets"]["d"]["clean"][-1]
    step["model"] = step["model"].replace("raw/bert/", "raw/models/")
    project.write_config()


def no_semantic_step(project: Project) -> None:
    assert project.config["datasets"]["d"]["clean"].pop()["step"] == "semantic_duplicates"
    project.write_config()
