import json

import pytest

from sftflow import codegraph


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """A repository's scripts/ with a stage, two modules below it and one beside it."""
    files = {
        "stage.py": "from pkg.near import f\n\nprint(f(1))\n",
        "pkg/__init__.py": "",
        "pkg/near.py": '"""Doc."""\nfrom pkg import far\n\ndef f(x):\n    return far.g(x)\n',
        "pkg/far.py": "def g(x):\n    return x + 1\n",
        "pkg/other.py": "def h():\n    return 0\n",
        "templates/page.j2": '{% include "part.j2" %}',
        "templates/part.j2": "<p>",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(codegraph, "SCRIPTS", tmp_path)
    return tmp_path


def digest(stage="stage"):
    for remembered in codegraph.FOUND_ONCE:
        remembered.cache_clear()
    return codegraph.code_digest(stage)


def test_comments_docstrings_and_layout_change_nothing(scripts):
    before = digest()
    (scripts / "pkg/near.py").write_text(
        '"""Other doc."""\n# why\nfrom pkg import far\n\n\ndef f( x ):\n'
        '    "d"\n    return far.g( x )\n'
    )
    assert digest() == before


def test_a_change_two_imports_away_counts(scripts):
    before = digest()
    (scripts / "pkg/far.py").write_text("def g(x):\n    return x + 2\n")
    assert digest() != before


def test_a_module_that_is_not_imported_does_not_count(scripts):
    before = digest()
    (scripts / "pkg/other.py").write_text("def h():\n    return 1\n")
    assert digest() == before


def test_an_import_within_a_function_counts(scripts):
    (scripts / "stage.py").write_text("def main():\n    from pkg.other import h\n    h()\n")
    before = digest()
    (scripts / "pkg/other.py").write_text("def h():\n    return 1\n")
    assert digest() != before


@pytest.mark.parametrize(
    "said", ["from . import other", "from .other import h", "from ..pkg import other"]
)
def test_a_module_that_is_named_from_beside_counts(scripts, said):
    (scripts / "pkg/near.py").write_text(f"{said}\n\ndef f(x):\n    return x\n")
    before = digest()
    (scripts / "pkg/other.py").write_text("def h():\n    return 1\n")
    assert digest() != before


def test_what_a_package_does_when_it_is_imported_counts(scripts):
    (scripts / "stage.py").write_text("from pkg.other import h\n")
    before = digest()
    (scripts / "pkg/__init__.py").write_text('"""What a package is for."""\n')
    assert digest() == before
    (scripts / "pkg/__init__.py").write_text("import os\n\nos.environ['THREADS'] = '1'\n")
    assert digest() != before


def test_a_named_list_counts(scripts):
    (scripts / "lists").mkdir()
    (scripts / "lists/words.yaml").write_text("- a\n")
    without = digest()
    (scripts / "pkg/far.py").write_text('def g(x):\n    return open("words.yaml")\n')
    before = digest()
    (scripts / "lists/words.yaml").write_text("# words\n\n-   a\n")
    assert digest() == before
    (scripts / "lists/words.yaml").write_text("- b\n")
    assert len({without, before, digest()}) == 3


def test_a_named_template_and_what_it_includes_count(scripts):
    (scripts / "stage.py").write_text('PAGE = "page.j2"\n')
    before = digest()
    (scripts / "templates/part.j2").write_text("<b>")
    assert digest() != before


def test_a_template_may_be_named_in_single_quotes(scripts):
    (scripts / "stage.py").write_text('PAGE = "page.j2"\n')
    (scripts / "templates/page.j2").write_text("{% include 'part.j2' %}")
    before = digest()
    (scripts / "templates/part.j2").write_text("<b>")
    assert digest() != before


def test_a_comment_in_a_template_counts_only_where_a_page_would_show_it(scripts):
    (scripts / "stage.py").write_text('PAGE = "page.j2"\n')
    page = scripts / "templates/page.j2"
    said = []
    for text in (
        "{#- A page. -#}\n<p>{{ x }}</p>\n",
        "{#- Another word. -#}\n<p>{{x}}{# here #}</p>\n",
        "<p>{{ x }}</p>\n",
        "<p>\n{# a line of its own #}\n{{ x }}</p>\n",
        "<p>{{ y }}</p>\n",
    ):
        page.write_text(text)
        said.append(digest())
    assert said[0] == said[1] == said[2]
    assert len(set(said)) == 3


def test_a_snapshot_names_functions_and_methods(scripts):
    (scripts / "pkg/far.py").write_text(
        "X = 1\n\nclass A:\n    def m(self):\n        return 1\n\ndef g(x):\n    return x\n"
    )
    before = codegraph.code_snapshot(digest())
    assert set(before["pkg/far.py"]) == {"", "A.m", "g"}
    assert "pkg/other.py" not in before
    text = (scripts / "pkg/far.py").read_text()
    (scripts / "pkg/far.py").write_text(text.replace("return 1", "return 2"))
    after = codegraph.code_snapshot(digest())
    changed = {n for n in after["pkg/far.py"] if after["pkg/far.py"][n] != before["pkg/far.py"][n]}
    assert changed == {"A.m"}
    assert codegraph.code_snapshot("0" * 16) is None


def test_versions_are_named():
    assert list(codegraph.package_versions(["pytest", "numpy"])) == ["numpy", "pytest"]


def test_what_trees_said_is_kept_by_content(scripts, tmp_path, monkeypatch):
    path = tmp_path / "results/.cache/code.json"
    path.parent.parent.mkdir()
    monkeypatch.setattr(codegraph, "_said", {})
    before = digest()
    codegraph._keep_trees(path, 0)
    monkeypatch.setattr(codegraph, "_said", {})
    monkeypatch.setattr(codegraph.atexit, "register", lambda *_: None)
    codegraph.remember_trees(path)
    monkeypatch.setattr(codegraph, "meaning", lambda _: "never asked")
    assert digest() == before
    (scripts / "pkg/far.py").write_text("def g(x):\n    return x + 2\n")
    assert digest() != before


def test_a_memory_does_not_grow_with_every_version(scripts, tmp_path, monkeypatch):
    path = tmp_path / "cache/code.json"
    old = {f"{i:064}": ["", [], []] for i in range(codegraph.MOST_SAID)}
    monkeypatch.setattr(codegraph, "_said", old)
    monkeypatch.setattr(codegraph, "_used", set())
    digest()
    codegraph._keep_trees(path, len(old) - 1)
    assert len(json.loads(path.read_text())["said"]) == 4  # the modules that the stage rests on


def test_a_memory_stands_beside_pythons_own(monkeypatch, tmp_path):
    monkeypatch.setattr(codegraph.os, "access", lambda *_: True)  # also where Python keeps none
    assert codegraph.tree_memory(tmp_path).parent.name == "__pycache__"
    monkeypatch.setattr(codegraph.os, "access", lambda *_: False)
    assert codegraph.tree_memory(tmp_path) == tmp_path / "code.json"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "another", "said": {}}'])
def test_a_memory_of_another_kind_is_not_used(tmp_path, text, monkeypatch):
    monkeypatch.setattr(codegraph.atexit, "register", lambda *_: None)
    (tmp_path / "code.json").write_text(text)
    before = dict(codegraph._said)
    codegraph.remember_trees(tmp_path / "code.json")
    assert codegraph._said == before


def test_what_only_some_trainings_use_makes_no_other_stale():
    """Only a run that answers at its evaluations rests on scores, and none on trackers."""

    def below(script):
        files = codegraph.code_files(codegraph.SCRIPTS / script)
        return {path.stem for path in files}

    assert {"trainer", "bestcheckpoint", "checkpointanswers"} <= below("train_adapter.py")
    asked = {"averaging", "evalgeneration", "ewc", "packing", "rates"}
    for stage in ("train_adapter", "train_preferences", "train_trial"):
        assert not {"scoring", "trackers", *asked} & below(f"{stage}.py")
    assert {"scoring", "continuations", "promptrows"} <= below("sftflow/evalgeneration.py")


def test_threads_parse_at_the_same_time():
    """Garbage collection lets other threads run in the middle of a tree."""
    import gc
    import time
    from concurrent.futures import ThreadPoolExecutor

    from sftflow.codegraph import SCRIPTS, parsed

    sources = [path.read_text() for path in sorted((SCRIPTS / "sftflow").glob("*.py"))[:60]]
    threshold = gc.get_threshold()

    def give_way(_phase, _info):
        time.sleep(0)

    gc.callbacks.append(give_way)
    gc.set_threshold(100)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert len(list(pool.map(parsed, sources))) == len(sources)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(give_way)
