"""What a clean-up takes, and what it must leave."""

import json
from pathlib import Path

import pytest

import tidy


def config(runs: dict, suites: tuple = ("s",)) -> str:
    return json.dumps(
        {
            "sources": {"a": {"path": "a.jsonl"}},
            "datasets": {"d": {"sources": ["a"]}},
            "bases": {"t": {"template": "chatml", "make": {}}},
            "runs": {
                name: {"base": base, "dataset": "d", "max_length": 64, "suites": list(suites)}
                for name, base in runs.items()
            },
            "suites": {s: {"tasks": ["gsm8k"]} for s in ("s", "u")},
            "judges": {"j": {"endpoint": {"base_url": "http://host/v1", "model": "m"}}},
            "people": {"p": {}},
        }
    )


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Return a work folder with a config of run "second", that starts from run "first"."""
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    Path("mine.yaml").write_text(config({"first": "t", "second": "first"}))
    for place, names in {
        "sources": ("a", "gone"),
        "datasets": ("d", "gone"),
        "runs": ("first", "second", "gone"),
        "models": ("t", "first", "second", "gone"),
        "eval": ("t", "gone"),
        "judged": ("j", "gone"),
        "people": ("p", "gone"),
        "mine": ("kept",),
    }.items():
        for name in names:
            folder = Path("results", place, name)
            folder.mkdir(parents=True)
            (folder / "x").write_text("x" * 10)
    for suite in ("s", "u"):
        path = Path(f"results/eval/t/benchmark/{suite}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}")
    # A run has the code of two stages if it asks for more.
    for run, digit in (("first", "1"), ("gone", "2")):
        stages = [digit * 16, f"{digit}0" * 8]
        record = Path(f"results/.provenance/train_adapter/run={run}.json")
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"basis": {"params": {"code": "".join(stages)}}}))
        for digest in stages:
            snapshot = Path(f"results/.provenance/code/{digest}.json")
            snapshot.parent.mkdir(exist_ok=True)
            snapshot.write_text("{}")
    return tmp_path


def left() -> set[str]:
    return {str(p.relative_to("results")) for p in Path("results").rglob("*") if p.is_file()}


def test_only_what_nothing_refers_to_goes(work, capsys):
    Path("results/datasets/d/map.json").write_text("{}")
    for pair in ("first.vs.t", "gone.vs.t"):
        Path(f"results/judged/j/{pair}").mkdir()
        Path(f"results/judged/j/{pair}/win_rate.json").write_text("{}")
    tidy.main(["--configfile", "mine.yaml", "--yes"])
    kept = left()
    assert not any("gone" in name for name in kept)
    assert "eval/t/benchmark/s.json" in kept
    assert "eval/t/benchmark/u.json" not in kept
    assert {"models/first/x", "runs/first/x", "models/t/x", "mine/kept/x"} <= kept
    assert ".provenance/train_adapter/run=first.json" in kept
    snapshots = {Path(name).stem for name in kept if name.startswith(".provenance/code/")}
    assert snapshots == {"1" * 16, "10" * 8}
    assert "datasets/d/map.json" not in kept
    assert {"judged/j/first.vs.t/win_rate.json", "people/p/x"} <= kept
    assert "Removed 11 entries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (2, {"search.json", "rounds/1.json", "trials/1/x", "trials/2/x"}),
        (None, set()),
    ],
)
def test_trials_stay_as_long_as_the_search_has_them(work, trials, expected):
    made = {"search.json", "rounds/1.json", "rounds/2.json", *(f"trials/{n}/x" for n in (1, 2, 3))}
    for name in made:
        path = Path("results/runs/first", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    said = json.loads(config({"first": "t", "second": "first"}))
    space = {"training.weight_decay": {"low": 0, "high": 0.5}}
    if trials:
        said["runs"]["first"]["search"] = {"space": space, "trials": trials}
    Path("mine.yaml").write_text(json.dumps(said))
    tidy.main(["--configfile", "mine.yaml", "--yes"])
    assert {name for name in made if Path("results/runs/first", name).exists()} == expected
    assert Path("results/runs/first/x").exists()


def test_a_second_config_protects_its_results(work):
    Path("other.yaml").write_text(config({"gone": "t"}, ("u",)))
    tidy.main(["--configfile", "mine.yaml", "other.yaml", "--yes"])
    assert {"runs/gone/x", "models/gone/x", "eval/t/benchmark/u.json"} <= left()
    assert "sources/gone/x" not in left()


def test_without_a_yes_nothing_goes(work, monkeypatch):
    before = left()
    monkeypatch.setattr(tidy.Confirm, "ask", lambda *_, **__: False)
    tidy.main(["--configfile", "mine.yaml"])
    assert left() == before


def test_a_config_with_faults_removes_nothing(work):
    before = left()
    Path("mine.yaml").write_text("runs: 3\n")
    with pytest.raises(SystemExit, match="config error"):
        tidy.main(["--configfile", "mine.yaml", "--yes"])
    assert left() == before


def test_a_link_goes_and_what_it_points_to_stays(work, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("x")
    Path("results/models/linked").symlink_to(elsewhere)
    tidy.main(["--configfile", "mine.yaml", "--yes"])
    assert (elsewhere / "precious").exists()
    assert not Path("results/models/linked").exists()


def test_a_mix_that_is_no_longer_asked_for_goes(work):
    for name in ("mixed/train.parquet", "contamination.json", "train.parquet"):
        path = Path("results/datasets/d", name)
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")

    def unused(**dataset):
        said = json.loads(config({"first": "t"}))
        said["datasets"]["d"] |= dataset
        Path("mine.yaml").write_text(json.dumps(said))
        found = tidy.unused(Path("results"), [tidy.load_config([Path("mine.yaml")], {})])
        return {path.name for path in found if path.parent.name == "d"}

    assert unused(mix={"a": {"times": 2}}) == set()
    assert unused() == {"mixed"}
    assert unused(decontaminate={"action": "drop"}) == set()
    assert unused(decontaminate={"action": "off"}) == {"mixed", "contamination.json"}


def test_rows_that_are_no_longer_made_go(work):
    made = Path("results/sources/a/made/made.jsonl")
    made.parent.mkdir()
    made.write_text("{}")
    endpoint = {"base_url": "http://host/v1", "model": "m"}
    make = {"method": "best_of_n", "from": "b", "endpoint": endpoint}
    said = json.loads(config({"first": "t"}))
    said["sources"] = {"a": {"make": make}, "b": {"path": "a.jsonl"}}
    for sources, gone in ((said["sources"], False), ({"a": {"path": "a.jsonl"}}, True)):
        Path("mine.yaml").write_text(json.dumps({**said, "sources": sources}))
        found = tidy.unused(Path("results"), [tidy.load_config([Path("mine.yaml")], {})])
        assert (made.parent in found) == gone
        assert Path("results/sources/a") not in found


def test_comparisons_that_are_no_longer_asked_for_go(work):
    asked = Path("results/eval/second/against")
    asked.mkdir(parents=True)
    for other in ("first", "t"):
        (asked / f"{other}.json").write_text("{}")
    Path("results/gates.json").write_text("{}")
    found = tidy.unused(Path("results"), [tidy.load_config([Path("mine.yaml")], {})])
    assert asked / "t.json" in found
    assert asked / "first.json" not in found
    assert Path("results/gates.json") in found


def test_what_a_training_on_pairs_measured_goes_with_dpo(work):
    measured = Path("results/runs/first/preferences.json")
    measured.write_text("{}")
    said = json.loads(config({"first": "t"}))
    for source, run, gone in (({"format": "preference"}, {"dpo": {}}, False), ({}, {}, True)):
        said["sources"]["a"] = {"path": "a.jsonl", **source}
        said["runs"]["first"] = {"base": "t", "dataset": "d", "max_length": 64, **run}
        Path("mine.yaml").write_text(json.dumps(said))
        found = tidy.unused(Path("results"), [tidy.load_config([Path("mine.yaml")], {})])
        assert (measured in found) == gone
