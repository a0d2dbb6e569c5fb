import json

import pytest

from sftflow.checkpoints import (
    SEAL,
    alone,
    checkpoints,
    fault,
    fingerprint,
    newest_valid,
    prune,
    remove_others,
    seal,
    step_of,
)
from sftflow.stage import StageError
from sftflow.workfolder import hold_folder


def make(folder, step, sealed=True):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter_model.safetensors").write_bytes(b"weights")
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    (checkpoint / "training_args.bin").write_bytes(b"a pickle")
    if sealed:
        seal(checkpoint)
    return checkpoint


def test_a_seal_covers_every_file_and_removes_the_pickle(tmp_path):
    checkpoint = make(tmp_path, 3)
    files = json.loads((checkpoint / SEAL).read_text())["files"]
    assert set(files) == {"adapter_model.safetensors", "optimizer.pt"}
    assert fault(checkpoint) is None


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda c: (c / "optimizer.pt").unlink(), "optimizer.pt is missing"),
        (lambda c: (c / "optimizer.pt").write_bytes(b"moment"), "optimizer.pt has changed"),
        (lambda c: (c / "optimizer.pt").write_bytes(b"\0" * 7), "optimizer.pt has changed"),
        (lambda c: (c / SEAL).unlink(), "not finished"),
        (lambda c: (c / SEAL).write_text("{"), "can't be read"),
        (lambda c: (c / SEAL).write_text('{"files": {}}'), "no files"),
    ],
)
def test_any_damage_is_seen_and_the_one_before_is_taken(tmp_path, damage, sentence):
    make(tmp_path, 9)
    damage(make(tmp_path, 10))
    newest, notes = newest_valid(tmp_path, 99)
    assert newest is not None
    assert step_of(newest) == 9
    assert len(notes) == 1
    assert sentence in notes[0]
    assert [step_of(c) for c in checkpoints(tmp_path)] == [9]


def test_steps_are_numbers_not_text(tmp_path):
    for step in (9, 100, 20):
        make(tmp_path, step)
    (tmp_path / "checkpoint-x").mkdir()
    assert [step_of(c) for c in checkpoints(tmp_path)] == [100, 20, 9]


def test_no_checkpoint_is_no_fault(tmp_path):
    assert newest_valid(tmp_path / "none", 99) == (None, [])


def test_the_newest_and_the_best_stay(tmp_path):
    for step in (1, 2, 3, 4):
        make(tmp_path, step)
    make(tmp_path, 5, sealed=False)  # being written
    prune(tmp_path, best_step=2)
    assert [step_of(c) for c in checkpoints(tmp_path)] == [5, 4, 2]


def test_a_fingerprint_hangs_on_every_part_and_on_no_order():
    one = fingerprint(spec={"a": 1, "b": 2}, data="x")
    assert one == fingerprint(data="x", spec={"b": 2, "a": 1})
    assert one != fingerprint(spec={"a": 1, "b": 2}, data="y")
    assert one != fingerprint(spec={"a": 1, "b": 3}, data="x")


def test_other_fingerprints_are_removed(tmp_path):
    for name in ("aa", "bb"):
        make(tmp_path / name, 1)
    assert remove_others(tmp_path, "bb") == ["aa"]
    assert [p.name for p in tmp_path.iterdir()] == ["bb"]
    assert remove_others(tmp_path / "none", "bb") == []


def test_later_ones_than_asked_for_are_left_alone(tmp_path):
    for step in (3, 6):
        make(tmp_path, step)
    newest, notes = newest_valid(tmp_path, 5)
    assert step_of(newest) == 3
    assert notes == []
    assert len(checkpoints(tmp_path)) == 2


def test_two_trainings_of_one_run_do_not_write_to_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("sftflow.checkpoints.ENDING_S", 0.0)
    with alone(tmp_path / "checkpoints"):
        with pytest.raises(StageError, match=r"another training of this run \(pid \d+ on"):
            with alone(tmp_path / "checkpoints"):
                pass
        assert hold_folder(tmp_path / ".training.lock") is not None  # still the first one's
    with alone(tmp_path / "checkpoints"):
        pass
