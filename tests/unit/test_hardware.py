import os

from sftflow import hardware


def test_the_machine_is_described():
    said = hardware.machine()
    assert said["cores"] == len(os.sched_getaffinity(0)) and said["memory_gib"] > 0.1
    assert isinstance(said["gpus"], list) and said["system"].startswith("Linux")
    assert len(hardware.load_average()) == 3


def test_a_machine_without_gpus_has_none(monkeypatch):
    monkeypatch.setattr(hardware.shutil, "which", lambda _: None)
    assert hardware.gpu_names() == []
