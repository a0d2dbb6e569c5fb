"""Semantic duplicates with a real, tiny Sentence Transformer: who goes, and what is refused."""

import json
import shutil

import pytest
from embedding_fixture import SAME, WORDS, write_embedding_model
from hypothesis import given, settings
from hypothesis import strategies as st
from steps_fixture import run_step, talk

import clean_dataset
import map_dataset
from sftflow import embeddings
from sftflow.embeddingfolders import check_embedding_folder, embedding_files
from sftflow.records import RECORD, write_table
from sftflow.stage import StageError

ASKED = "how do i reset my password please"


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return write_embedding_model(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def copied(model, tmp_path):
    """A copy of the model that may be spoilt."""
    return shutil.copytree(model, tmp_path / "copied")


@pytest.fixture(scope="module", autouse=True)
def loaded_once():
    """Load each folder once, and let no test wait for a second core."""
    import torch

    known, load, threads = {}, embeddings._loaded, torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "_loaded", lambda f: known.get(f) or known.setdefault(f, load(f)))
        yield
    torch.set_num_threads(threads)


def run(folder, model, records, **options):
    options = {"short_answer_chars": 0, **options}
    step = {"step": "semantic_duplicates", "model": str(model), **options}
    kept, gone, books = run_step(folder, step, records)
    assert list(folder.iterdir()) == []  # no temporary file stays
    return [r["row"] for r in kept], {row: (reason, said) for row, reason, said, _ in gone}, books


def test_the_first_stays_and_is_named(model, tmp_path):
    records = [
        talk(ASKED, "it is france", 1),
        talk("what is the capital of it", "france france", 2),
        talk("kindly " + ASKED.removesuffix(" please"), "it is gallia", 3),
        talk(ASKED.upper(), "it is  france", 4),  # equal but for case and space
        talk(ASKED, "tell me what it is", 5),
    ]
    kept, gone, books = run(tmp_path, model, records)
    assert kept == [1, 2, 5]
    assert gone == {
        3: ("semantic_duplicate", "means nearly what s f:1 means: similarity 0.9999"),
        4: ("semantic_duplicate", "means nearly what s f:1 means: similarity 1.0000"),
    }
    assert set(embeddings.PACKAGES) == books.packages
    assert len(books.counts()["model_sha256"]) == 64


def test_the_most_similar_of_those_that_stay_is_named(model, tmp_path):
    records = [
        talk(ASKED, "it is france", 1),
        talk(ASKED, "tell me what it is", 2),
        talk(ASKED, "it what tell me", 3),
    ]
    kept, gone, _ = run(tmp_path, model, records, threshold=0.9)
    assert kept == [1, 2]
    assert gone[3][1].startswith("means nearly what s f:2 means: similarity 0.9")


def test_a_long_question_does_not_hide_another_answer(model, tmp_path):
    long = " ".join(WORDS)
    records = [talk(long, "france", 1), talk(long, "password", 2), talk(long, "gallia", 3)]
    assert run(tmp_path, model, records)[0] == [1, 2]


def test_chinese(model, tmp_path):
    records = [talk("重置我的密码", "密码", 1), talk("ab", "a", 2), talk("我的密码重置", "密码", 3)]
    kept, gone, _ = run(tmp_path, model, records)
    assert kept == [1, 2]
    assert "0.9999" in gone[3][1]


@pytest.mark.parametrize(("compare", "kept"), [("conversation", [1, 2]), ("prompt", [1])])
def test_what_is_compared(model, tmp_path, compare, kept):
    records = [talk(ASKED, "france", 1), talk(ASKED, "a b tell me the capital", 2)]
    assert run(tmp_path, model, records, compare=compare)[0] == kept


@pytest.mark.parametrize(("chars", "kept"), [(12, [1, 2]), (11, [1])])
def test_short_answers_must_be_equal(model, tmp_path, chars, kept):
    other = ASKED.replace("please", "kindly")
    records = [
        talk(ASKED, "it is france", 1),  # 12 characters
        talk(other, "it is gallia", 2),
        talk(other, "It is France", 3),
    ]
    assert run(tmp_path, model, records, short_answer_chars=chars)[0] == kept


def test_other_tools_are_another_row(model, tmp_path):
    records = [talk(ASKED, "france", 1), talk(ASKED, "france", 2, tools="[{}]")]
    assert run(tmp_path, model, records)[0] == [1, 2]


def test_what_stands_behind_the_reach_of_the_model_counts(model, tmp_path):
    long = " ".join([ASKED] * 6)  # 42 words, 45 with the answer: four pieces
    records = [
        talk(long, "it is france", 1),
        talk(long, "tell what capital", 2),
        talk(long, "it is gallia", 3),
    ]
    kept, gone, books = run(tmp_path, model, records, threshold=0.9)
    assert kept == [1, 2]
    assert "0.9999" in gone[3][1]
    assert books.counts()["totals"] == {"embedded_in_pieces": 3}


def test_pieces_are_even_and_lose_nothing():
    tokens = [(i, i + 1) for i in range(25)]
    text = "abcdefghijklmnopqrstuvwxy"
    assert embeddings.cut(text, tokens, 10) == ["abcdefgh", "ijklmnop", "qrstuvwxy"]
    assert embeddings.cut(text, tokens, 25) == [text]
    assert embeddings.cut("", [], 10) == [""]


def test_two_runs_say_the_same(model, tmp_path):
    records = [talk(" ".join(WORDS[i % 5 : i % 11]), WORDS[i % 7], i) for i in range(1, 80)]
    first, again = (run(tmp_path, model, records, batch_size=8)[:2] for _ in range(2))
    assert first == again
    assert 0 < len(first[0]) < 79


SAID = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(SAID, SAID), max_size=10))
@settings(max_examples=20, deadline=None)
def test_threshold_1_lets_equal_texts_go_and_no_others(model, tmp_path_factory, pairs):
    records = [talk(prompt, answer, row) for row, (prompt, answer) in enumerate(pairs, 1)]
    kept, _, _ = run(tmp_path_factory.mktemp("meaning"), model, records, threshold=1.0)
    assert kept == [row for row, pair in enumerate(pairs, 1) if pair not in pairs[: row - 1]]


@given(st.lists(st.tuples(SAID, SAID), max_size=10), st.sampled_from([0.6, 0.9]))
@settings(max_examples=10, deadline=None)
def test_what_stays_resembles_no_other_that_stays(model, tmp_path_factory, pairs, threshold):
    folder = tmp_path_factory.mktemp("meaning")
    records = [talk(prompt, answer, row) for row, (prompt, answer) in enumerate(pairs, 1)]
    kept, _, _ = run(folder, model, records, threshold=threshold)
    stayed = [records[row - 1] for row in kept]
    assert run(folder, model, stayed, threshold=threshold)[0] == kept


def refused(folder, tmp_path):
    (tmp_path / "work").mkdir()
    with pytest.raises(StageError) as caught:
        run(tmp_path / "work", folder, [talk("a", "b")])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pickles_are_refused(copied, tmp_path):
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert "has its weights only as pickle (pytorch_model.bin)" in refused(copied, tmp_path)


def test_pickles_of_a_part_are_refused(copied, tmp_path):
    (copied / "1_Pooling/pytorch_model.bin").write_bytes(b"")
    assert "1_Pooling has its weights only as pickle" in refused(copied, tmp_path)


def test_code_of_the_model_is_not_run(copied, tmp_path):
    modules = json.loads((copied / "modules.json").read_text())
    modules[1]["type"] = "own_code.Pooling"
    (copied / "modules.json").write_text(json.dumps(modules))
    (copied / "own_code.py").write_text("raise SystemExit('run')")
    assert "needs code of its own (own_code.Pooling), which is not run" in refused(copied, tmp_path)


def test_parts_outside_of_the_folder_are_refused(copied, tmp_path):
    modules = json.loads((copied / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (copied / "modules.json").write_text(json.dumps(modules))
    assert "names the place '../elsewhere', which lies outside" in refused(copied, tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("model.safetensors", "", "is no embedding model that loads"),
        ("modules.json", "{", "can't be read as a list of modules"),
        ("modules.json", "[1]", "can't be read as a list of modules"),
        ("config.json", "[]", "is no embedding model that loads"),
        ("tokenizer.json", "{}", "is no embedding model that loads"),
    ],
)
def test_damaged_files_are_one_sentence(copied, tmp_path, file, text, sentence):
    (copied / file).write_text(text)
    assert sentence in refused(copied, tmp_path)


def test_missing_weights_are_not_random_numbers(copied, tmp_path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(copied / "model.safetensors")
    del weights["embeddings.word_embeddings.weight"]
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    said = refused(copied, tmp_path)
    assert "1 weights are in no file, embeddings.word_embeddings.weight among them" in said


def test_a_plain_transformers_folder_is_averaged(copied, tmp_path, model):
    (copied / "modules.json").unlink()
    (tmp_path / "work").mkdir()
    records = [talk(ASKED, "france", 1), talk(ASKED, "France", 2), talk("a b", "tell me", 3)]
    assert run(tmp_path / "work", copied, records)[0] == [1, 3]
    assert "1_Pooling/config.json" in embedding_files(model)
    assert "1_Pooling/config.json" not in embedding_files(copied)


def test_a_card_is_no_part_of_the_model(copied):
    before = embedding_files(copied)
    (copied / "README.md").write_text("A card.")
    (copied / "onnx").mkdir()
    (copied / "onnx/config.json").write_text("{}")
    assert embedding_files(copied) == before
    check_embedding_folder(copied)


def test_the_manifest_says_what_the_model_is_and_not_where():
    step = {"step": "semantic_duplicates", "model": "/home/me/models/small", "revision": None}
    hub = {**step, "model": "owner/name", "revision": "0" * 40}
    said = clean_dataset.settings({"dataset": "d", "clean": [step, hub, {"step": "length"}]})
    assert [s.get("model") for s in said["clean"]] == ["small", "owner/name", None]
    assert said["dataset"] == "d"


def test_the_manifest_says_what_a_judge_is_asked_and_not_how_often():
    step = {"step": "judge", "model": "m", "min_score": 3}
    asked = {**step, "concurrency": 2, "max_retries": 9, "timeout_s": 5, "api_key_env": "KEY"}
    assert clean_dataset.settings({"clean": [asked]}) == {"clean": [step]}


def test_the_hub_is_asked_once(model, tmp_path, monkeypatch):
    asked = []

    def fetched(name, revision, code, cache, folders):
        asked.append((name, revision, code, folders))
        cache.mkdir(parents=True, exist_ok=True)
        return str(model)

    monkeypatch.setattr(embeddings, "download", fetched)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert embeddings.model_folder("owner/name", "0" * 40) == model
    assert asked == [("owner/name", "0" * 40, False, True)]
    with pytest.raises(StageError, match="40 hex digits"):
        embeddings.model_folder("owner/name", "main")


def test_prompts_are_put_on_a_map(model, tmp_path):
    words = [word for word in WORDS if word not in SAME]
    records = [{**talk(f"{a} {b}", "yes"), "id": a + b} for a in words[:6] for b in words[6:9]]
    write_table(tmp_path / "train.parquet", records, RECORD)
    spec = {"dataset": "d", "model": str(model), "revision": None, "batch_size": 8}
    arguments = ["--spec", json.dumps(spec), "--train", str(tmp_path / "train.parquet")]
    for name in ("one.json", "two.json"):
        map_dataset.main([*arguments, "--map", str(tmp_path / name)])
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    said = json.loads((tmp_path / "one.json").read_text())
    assert sorted(name for name, *_ in said["points"]) == sorted(r["id"] for r in records)
    write_table(tmp_path / "train.parquet", records[:3], RECORD)
    map_dataset.main([*arguments, "--map", str(tmp_path / "few.json")])
    assert json.loads((tmp_path / "few.json").read_text())["points"] == []
