"""Searches: trials and rounds, proposals, which trial is best, what a trial leaves."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import choose_trial
import list_trials
import suggest_round
import train_trial
from sftflow import nonfinite, searches, suggesting, trials
from sftflow.course import Course, Point
from sftflow.manifests import write_manifest, write_text
from sftflow.stage import StageError


def number(low, high, **more):
    return {"low": low, "high": high, "log": False, "step": None, **more}


RATE = number(1e-5, 1e-2, log=True)
RANK = {"choices": [8, 16, 32], "log": False, "step": None}
SPACE = {"training.learning_rate": RATE, "lora.r": RANK}
SEARCH = {"space": SPACE, "trials": 10, "sampler": "tpe", "startup_trials": 4, "per_round": 3}


def test_the_first_round_is_the_draw_and_later_ones_learn():
    assert [searches.round_trials(SEARCH, n) for n in (1, 2, 3)] == [
        [1, 2, 3, 4],
        [5, 6, 7],
        [8, 9, 10],
    ]
    assert searches.round_count(SEARCH) == 3
    assert searches.earlier_trials(SEARCH, 3) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("sampler", ["random", "grid"])
def test_who_does_not_learn_has_one_round(sampler):
    space = {"lora.r": RANK, "training.seed": {"choices": [0, 1]}}
    search = {**SEARCH, "space": space, "sampler": sampler}
    assert searches.round_count(search) == 1
    assert searches.trial_count(search) == (6 if sampler == "grid" else 10)


@given(
    trials=some.integers(1, 60),
    more=some.integers(0, 30),
    first=some.integers(1, 20),
    per_round=some.integers(1, 9),
)
def test_more_trials_leave_the_rounds_before_as_they_are(trials, more, first, per_round):
    search = {**SEARCH, "trials": trials, "startup_trials": first, "per_round": per_round}
    larger = {**search, "trials": trials + more}
    for trial in range(1, trials + 1):
        assert searches.round_of(search, trial) == searches.round_of(larger, trial)
    rounds = range(1, searches.round_count(search) + 1)
    assert [t for r in rounds for t in searches.round_trials(search, r)] == [*range(1, trials + 1)]


def test_settings_go_where_their_keys_say():
    run = {"training": {"learning_rate": 1.0}, "lora": {"r": 1}, "order": "shuffled"}
    changed = searches.settled(run, {"training.learning_rate": 2.0, "order": "as_is"})
    assert changed == {"training": {"learning_rate": 2.0}, "lora": {"r": 1}, "order": "as_is"}
    assert run["training"] == {"learning_rate": 1.0}
    for key in ("lora.rank", "lora.r.x", "gone", "order.x"):
        with pytest.raises(KeyError):
            searches.settled(run, {key: 1})


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        (RANK, [8, 16, 32]),
        (number(1, 4), [1, 2, 3, 4]),
        (number(1, 8, step=3), [1, 4, 7]),
        (number(0.1, 0.3, step=0.1), [0.1, 0.2, 0.3]),
        (number(0.1, 0.3), None),
    ],
)
def test_the_values_of_a_dimension(dimension, values):
    found = searches.points(dimension)
    assert (None if found is None else list(found)) == values


def loss_of(proposed):
    """Best at a rate of 1e-3 and a rank of 16; no number at a rate above 5e-3."""
    rate, rank = proposed["training.learning_rate"], proposed["lora.r"]
    far = abs(math.log10(rate) + 3)
    return None if rate > 5e-3 else 1 + far + (rank != 16)


def searched(sampler, seed):
    finished = []
    for n in range(1, 5):
        how = {"sampler": sampler, "seed": seed, "number": n, "count": 4}
        found = suggesting.proposals(SPACE, finished=finished, **how)
        finished += [(one, loss_of(one)) for one in found]
    return finished


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_later_rounds_go_where_losses_are_low(sampler):
    def mean(rows):
        known = [loss for _, loss in rows if loss is not None]
        return math.fsum(known) / len(known)

    def average(sampler):
        return math.fsum(mean(searched(sampler, seed)[8:]) for seed in range(2)) / 2

    assert average(sampler) < average("random") - 0.2


@settings(max_examples=15, deadline=None)
@given(
    seed=some.integers(0, 10**6),
    losses=some.lists(some.none() | some.floats(0.1, 9), min_size=4, max_size=4),
    count=some.integers(1, 5),
)
def test_the_same_losses_propose_the_same_and_a_longer_round_begins_alike(seed, losses, count):
    first = suggesting.proposals(SPACE, "tpe", seed, 1, [], 4)
    finished = list(zip(first, losses, strict=True))
    found = suggesting.proposals(SPACE, "tpe", seed, 2, finished, 5)
    again = suggesting.proposals(SPACE, "tpe", seed, 2, finished, count)
    assert again == found[:count]
    for one in (*first, *found):
        assert 1e-5 <= one["training.learning_rate"] <= 1e-2
        assert one["training.learning_rate"] == float(f"{one['training.learning_rate']:.3g}")
        assert one["lora.r"] in RANK["choices"]
    assert suggesting.proposals(SPACE, "tpe", seed + 1, 1, [], 4) != first


def test_settings_are_proposed_once_though_few_are_left():
    space = {"lora.r": RANK, "training.seed": number(0, 2)}
    first = suggesting.proposals(space, "tpe", 0, 1, [], 5)
    second = suggesting.proposals(space, "tpe", 0, 2, [(one, 1.0) for one in first], 4)
    every = sorted(map(str, searches.combinations(space)))
    assert sorted(str(dict(sorted(one.items()))) for one in [*first, *second]) == every


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_first_round_that_diverged_throughout_does_not_end_the_search(sampler):
    first = suggesting.proposals(SPACE, "random", 0, 1, [], 4)
    found = suggesting.proposals(SPACE, sampler, 0, 2, [(one, None) for one in first], 2)
    assert len(found) == 2


def test_the_grid_is_every_combination_in_order():
    space = {"b": {"choices": ["x", None]}, "a": {"choices": [[1], [2]]}}
    found = suggesting.proposals(space, "grid", 0, 1, [], 4)
    assert found == [{"a": a, "b": b} for a in ([1], [2]) for b in ("x", None)]


COURSE = Course(loss=(), validation=(Point(2, 0.9), Point(4, 0.5), Point(6, 0.7)))


@pytest.mark.parametrize(
    ("counts", "loss"),
    [
        ({"kept_step": 4}, 0.5),
        ({"kept_step": 7}, 0.7),
        ({"kept_step": 1}, None),
        ({"kept_step": 6, "averaged_eval_loss": 0.4}, 0.4),
    ],
)
def test_the_loss_of_a_trial_is_that_of_the_weights_it_kept(counts, loss):
    assert trials.kept_loss(counts, COURSE) == loss


def test_only_a_loss_that_is_no_number_is_a_divergence(monkeypatch, tmp_path):
    monkeypatch.setattr(nonfinite, "cause", lambda _: "lower training.learning_rate")
    what = {"step": 3, "learning_rate": 1e30, "batches": [], "model": None, "folder": tmp_path}
    for figure in ("the loss is nan", "the gradient norm is inf"):
        said = nonfinite.sentence(figure, dataset={"length": []}, **what)
        assert trials.has_diverged(said)
    assert trials.has_diverged("eval_loss is nan at step 4: the training diverged; lower ...")
    assert not trials.has_diverged("the GPU's memory ran out at step 2: halve ...")
    assert not trials.has_diverged("the loss of step 1 is 40, not between 0 and 2 ln(vocabulary)")
    assert not trials.has_diverged("stopped by a signal after step 2 of 8; ...")


def left(folder, trial, loss, diverged=None):
    """Write what train_trial leaves of a trial; return its trial.json."""
    place = folder / "trials" / str(trial)
    trained = place / "trained"
    trained.mkdir(parents=True)
    if diverged is None:
        for name in ("adapter/weights", "samples/step-1.jsonl"):
            write_text(trained / name, f"{trial}")
        lines = ["step,epoch,loss,learning_rate,grad_norm,eval_loss,tokens"]
        lines += [f"{step},1,{3 - step / 3},0.001,1,{loss},9" for step in range(1, 7)]
        write_text(trained / "history.csv", "\n".join(lines) + "\n")
        write_manifest(
            trained / "manifest.json",
            stage="train_adapter",
            spec={"run": "r", "method": "lora", "training": {}, "lora": {"r": trial}},
            payloads=[p for p in trained.rglob("*") if p.is_file()],
            counts={"kept_step": 6, "steps": 6},
        )
    said = {"run": "r", "trial": trial, "settings": {"lora.r": trial}}
    path = place / "trial.json"
    path.write_text(json.dumps({**said, "loss": loss, "diverged": diverged}))
    return path


def chosen(folder, paths):
    names = {"adapter": "adapter", "samples": "samples", "history": "history.csv"}
    places = [t for n, f in names.items() for t in (f"--{n}", str(folder / f))]
    argv = ["--spec", '{"run": "r"}', *places, "--manifest", str(folder / "manifest.json")]
    choose_trial.main([*argv, "--trials", *map(str, paths)])
    return (folder / "manifest.json").read_bytes(), (folder / "SHA256SUMS").read_bytes()


def test_the_lowest_loss_becomes_the_run_and_more_trials_change_no_byte(tmp_path):
    paths = [left(tmp_path, 1, 0.5), left(tmp_path, 2, 0.25), left(tmp_path, 3, None, "nan")]
    before = chosen(tmp_path, paths)
    assert json.loads(before[0])["trial"] == 2
    assert json.loads(before[0])["settings"]["lora"]["r"] == 2
    assert (tmp_path / "adapter/weights").read_text() == "2"
    choose_trial.check_payloads(tmp_path)
    assert chosen(tmp_path, [*paths, left(tmp_path, 4, 0.25)]) == before
    chosen(tmp_path, [*paths, left(tmp_path, 5, 0.1)])
    assert (tmp_path / "adapter/weights").read_text() == "5"
    assert (tmp_path / "samples/step-1.jsonl").read_text() == "5"


def test_a_damaged_trial_is_not_chosen(tmp_path):
    path = left(tmp_path, 1, 0.5)
    (path.parent / "trained/adapter/weights").write_text("other")
    with pytest.raises(StageError, match="has changed since it was made"):
        chosen(tmp_path, [path])


def test_a_search_of_which_every_trial_diverged_says_so(tmp_path):
    paths = [left(tmp_path, n, None, "the loss is nan at step 3 ...") for n in (1, 2)]
    with pytest.raises(StageError, match="every one of the 2 trials of run r diverged"):
        chosen(tmp_path, paths)


def test_the_list_says_what_came_of_each_trial(tmp_path):
    paths = [left(tmp_path, 2, None, "the loss is nan at step 3"), left(tmp_path, 1, 0.5)]
    spec = {
        "run": "r",
        "sampler": "random",
        "space": {"lora.r": RANK},
        "rounds": {"1": 1, "2": 1},
    }
    times = json.dumps({"1": 4.5, "2": None})
    argv = ["--spec", json.dumps(spec), "--times", times, "--trials", *map(str, paths)]
    list_trials.main([*argv, "--search", str(tmp_path / "search.json")])
    said = json.loads((tmp_path / "search.json").read_text())
    assert said["best"] == 1
    first, second = said["trials"]
    assert (first["trial"], first["loss"], first["steps"], first["seconds"]) == (1, 0.5, 6, 4.5)
    assert [v["name"] for v in first["verdicts"]] == ["healthy"]
    assert [v["name"] for v in second["verdicts"]] == ["diverged"]
    assert second["steps"] is None


def test_a_round_is_written_from_the_trials_before(tmp_path):
    paths = [left(tmp_path, n, 0.5 + n) for n in (2, 1)]
    spec = {
        "run": "r",
        "round": 2,
        "trials": [3, 4],
        "space": {"lora.r": number(1, 64, log=True)},
        "sampler": "tpe",
        "seed": 0,
    }
    argv = ["--spec", json.dumps(spec), "--round", str(tmp_path / "2.json"), "--trials"]
    suggest_round.main([*argv, *map(str, paths)])
    written = (tmp_path / "2.json").read_bytes()
    assert list(json.loads(written)["trials"]) == ["3", "4"]
    suggest_round.main([*argv, *map(str, reversed(paths))])
    assert (tmp_path / "2.json").read_bytes() == written


def test_a_trial_that_diverged_is_a_result_and_another_fault_is_none(tmp_path, monkeypatch):
    said = "the loss is nan at step 3 (learning rate 1)"

    def stops(_):
        raise StageError(said)

    monkeypatch.setattr(train_trial.train_adapter, "main", stops)
    spec = {"run": "r", "trial": 4, "settings": {"lora.r": 8}}
    places = {n: tmp_path / n for n in ("templated", "model", "trained", "checkpoints", "trial")}
    argv = ["--spec", json.dumps(spec), *(t for n, p in places.items() for t in (f"--{n}", str(p)))]
    train_trial.main(argv)
    told = trials.read_trial(places["trial"])
    assert told == {**spec, "loss": None, "diverged": said}
    assert list(places["trained"].iterdir()) == []
    said = "the GPU's memory ran out at step 2"
    with pytest.raises(StageError, match="memory ran out"):
        train_trial.main(argv)
