"""Trainings of two processes on a CPU: what one process does is what they must do together.

43 rows, 8 at a time: steps of 16, 16 and 11 rows, so the second process has three in the last one.
17 validation rows: one for the third batch, and none for the fourth.
"""

import importlib.util
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import training_fixture as toy
from ranks import RANKS, Ranks
from safetensors.torch import load_file

from sftflow.launching import launch_command, run_launched
from sftflow.manifests import read_manifest
from sftflow.stage import StageError

pytestmark = pytest.mark.e2e

# The same numbers are added in another order, which Adam makes larger where gradients are small: it
# moves each weight by about the learning rate, so what it does is held to a thousandth of that.
STEP_WITHIN, LOSSES_WITHIN = 1e-3, 1e-5
TRAINING = {
    **toy.SPEC["training"],
    "num_train_epochs": 2,
    "eval_steps": 3,
    "save_steps": 2,
    "learning_rate": 1e-2,
}
FULL = {
    "method": "full",
    "training": {**TRAINING, "learning_rate": 0.1, "lr_scheduler_type": "constant"},
}
WEIGHED = {"training": {**TRAINING, "batching": "packed"}}
MIDDLE = 4  # a checkpoint in the middle of the second epoch, where the order of rows is another


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a work folder with dataset, base and tokens; half of the answers weigh less."""
    folder = tmp_path_factory.mktemp("ranks")
    toy.write_dataset(folder / "results/datasets/toy", train=43, validation=17, weight=0.3)
    toy.write_base(folder / "results/models/tiny")
    toy.template(folder)
    return folder


def spec_of(name, **more):
    return {**toy.changed(toy.SPEC, run=name, lora__lora_dropout=0.0), "training": TRAINING, **more}


def alone(folder, name, **more):
    toy.finish(toy.start(folder, toy.training(spec_of(name, **more))))
    return folder / "results/runs" / name


def shared(folder, name, strategy, **more):
    """Start a run of two processes that has the steps of one process; return it and its spec."""
    spec = spec_of(name, **more, launch={"num_processes": RANKS, "strategy": strategy})
    spec = toy.changed(spec, training__gradient_accumulation_steps=1)
    return Ranks(folder, toy.training(spec), spec)


def together(folder, name, strategy, **more):
    ranks = shared(folder, name, strategy, **more)
    assert ranks.wait() == [0] * RANKS, ranks.said()
    return folder / "results/runs" / name


def history(run):
    head, *rows = [line.split(",") for line in (run / "history.csv").read_text().splitlines()]
    return [{k: float(v) for k, v in zip(head, row, strict=True) if v} for row in rows]


def weights(run):
    (file,) = (run / "adapter").glob("*.safetensors")
    return load_file(file)


def agree(one, two):
    """Assert that two runs have the same course, counts and weights."""
    for row, other in zip(history(one), history(two), strict=True):
        assert other == pytest.approx(row, abs=LOSSES_WITHIN, rel=1e-4)
    first, second = (read_manifest(run / "manifest.json") for run in (one, two))
    assert second["counts"] == pytest.approx(first["counts"], abs=LOSSES_WITHIN)
    mine, theirs = weights(one), weights(two)
    bound = STEP_WITHIN * first["settings"]["training"]["learning_rate"]
    assert {k: (w.shape, w.dtype) for k, w in mine.items()} == {
        k: (w.shape, w.dtype) for k, w in theirs.items()
    }
    for name, weight in mine.items():
        assert float((weight - theirs[name]).abs().max()) < bound, name


@pytest.fixture(scope="module")
def full(folder):
    """Return a run of one process that trains all weights, and whose last step is not its best."""
    run = alone(folder, "full", **FULL)
    counts = read_manifest(run / "manifest.json")["counts"]
    assert counts["kept_step"] < counts["steps"]
    return run


def test_two_processes_do_what_one_does(folder):
    rows = pq.read_table(folder / toy.TEMPLATED / "train.parquet").column("loss_weights")
    assert {0.0, 0.3, 1.0} == {round(w, 3) for row in rows.to_pylist() for w in row}
    agree(alone(folder, "one", **WEIGHED), together(folder, "two", "ddp", **WEIGHED))


def killed(folder, name, strategy, number, victims, **more):
    """Start a run, end it at a checkpoint; return what it said."""
    ranks = shared(folder, name, strategy, **more)
    seal = f"results/runs/{name}/checkpoints/*/checkpoint-{MIDDLE}/COMPLETE.json"
    while ranks.run() and not list(folder.glob(seal)):
        pass
    assert ranks.run(), ranks.said()
    for rank in ranks.ranks[victims]:
        rank.send_signal(number)
    assert None not in ranks.wait()
    return ranks.said()


SHARDED = [
    "fsdp",
    *(
        pytest.param(
            strategy,
            marks=pytest.mark.skipif(
                importlib.util.find_spec("deepspeed") is None, reason="no deepspeed here"
            ),
        )
        for strategy in ("deepspeed2", "deepspeed3")
    ),
]


@pytest.mark.parametrize("strategy", SHARDED)
def test_a_sharded_training_does_what_one_process_does(folder, full, strategy):
    from transformers import AutoModelForCausalLM

    name = f"full-{strategy}"
    run = together(folder, name, strategy, **FULL)
    agree(full, run)
    _, info = AutoModelForCausalLM.from_pretrained(run / "adapter", output_loading_info=True)
    assert not any(info.values())
    killed(folder, f"killed-{strategy}", strategy, signal.SIGKILL, slice(1, 2), **FULL)
    again = together(folder, f"killed-{strategy}", strategy, **FULL)
    assert toy.sums(folder, again.name) == toy.sums(folder, name)


def test_a_signal_to_one_process_stops_both_at_the_same_step(folder):
    long = {"training": {**TRAINING, "save_steps": 4}}  # so that a further one is the signal's
    reference = together(folder, "calm", "ddp", **long)
    said = killed(folder, "stopped", "ddp", signal.SIGTERM, slice(1, 2), **long)
    assert said.count("stopped by a signal after step") == RANKS
    ranks = shared(folder, "stopped", "ddp", **long)
    assert ranks.wait() == [0, 0]
    assert "continuing from checkpoint-" in ranks.said()
    assert toy.sums(folder, "stopped") == toy.sums(folder, reference.name)


def test_fewer_rows_than_processes(tmp_path):
    toy.write_dataset(tmp_path / "results/datasets/toy", train=1, validation=1)
    toy.write_base(tmp_path / "results/models/tiny")
    toy.template(tmp_path)
    short = {"training": {**TRAINING, "eval_steps": 1, "save_steps": 1}}
    agree(alone(tmp_path, "one", **short), together(tmp_path, "two", "ddp", **short))


def test_a_loss_that_is_no_number_in_one_process_is_told_with_its_rows(folder):
    spec = spec_of("nan", launch={"num_processes": RANKS, "strategy": "ddp"})
    python, _, *arguments = toy.training(spec)
    ranks = Ranks(
        folder, [python, str(Path(__file__).with_name("failing_rank.py")), *arguments], spec
    )
    first, second = ranks.wait()
    assert second == 1 and first not in (0, None)  # the first has lost whom it waited for
    rows = pq.read_table(folder / toy.TEMPLATED / "train.parquet").column("id").to_pylist()
    (told,) = [line for line in ranks.said().splitlines() if "ERROR sftflow" in line]
    assert "the loss is nan at step 2" in told and any(row in told for row in rows)


KILLED = """
import os, time
if os.environ["RANK"] == "1":
    os.kill(os.getpid(), 9)
time.sleep(600)
"""


def test_a_process_that_is_killed_ends_the_others_and_is_told(tmp_path, monkeypatch):
    """In the words of torch's launcher, whom nobody else hears."""
    import psutil

    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    launch = {"num_processes": RANKS, "strategy": "ddp"}
    with pytest.raises(StageError, match="a training process was ended by SIGKILL"):
        run_launched(launch_command(launch, [str(script)], "float32", 1), on_cpu=True)
    running = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    assert not any(str(script) in line for line in running)
