import pytest

from sftflow.folders import built_beside, check_payloads, make_readable
from sftflow.manifests import write_manifest
from sftflow.stage import StageError


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    target = tmp_path / "model"
    (tmp_path / ".model.part").mkdir()  # left by a killed process
    (tmp_path / ".model.part" / "old").write_text("half")
    with built_beside(target) as built:
        (built / "a").write_text("1")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert [p.name for p in target.iterdir()] == ["a"]
    with pytest.raises(ValueError), built_beside(target) as built:
        (built / "b").write_text("2")
        raise ValueError
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert [p.name for p in target.iterdir()] == ["a"]


def test_others_may_read_what_safetensors_wrote(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/weights").write_text("1")
    (tmp_path / "sub/weights").chmod(0o600)
    make_readable(tmp_path)
    assert (tmp_path / "sub/weights").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "sub/b").write_text("other"), "sub/b has changed"),
        (lambda f: (f / "a").unlink(), "a is missing"),
        (lambda f: (f / "SHA256SUMS").unlink(), "was not finished"),
    ],
)
def test_damage_is_seen(tmp_path, damage, sentence):
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/b"):
        (tmp_path / name).write_text(name)
    files = [tmp_path / "a", tmp_path / "sub/b"]
    write_manifest(tmp_path / "manifest.json", stage="s", spec={}, payloads=files)
    check_payloads(tmp_path)
    damage(tmp_path)
    with pytest.raises(StageError, match=sentence):
        check_payloads(tmp_path)
    if sentence.startswith("a is"):
        check_payloads(tmp_path, under="sub/")
    if sentence.startswith("sub/b"):
        check_payloads(tmp_path, but="b")
