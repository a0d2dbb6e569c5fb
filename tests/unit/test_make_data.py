"""The raw data of the embedded default: same bytes, dirt as promised, learnable labels."""

import csv
import hashlib
import importlib.util
import io
import json
import random
from pathlib import Path

import pytest

from sftflow.tickets import MATTERS, PRODUCTS, URGENCY, sentence, ticket

DATA = Path(__file__).resolve().parents[2] / "data"


@pytest.fixture(scope="module")
def make_data():
    spec = importlib.util.spec_from_file_location("make_data", DATA / "make_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(make_data):
    return make_data.files(make_data.SEED)


def test_the_files_in_the_repository_are_those_that_the_seed_makes(files):
    for name, text in files.items():
        assert (DATA / name).read_bytes() == text.encode(), f"{name}: run data/make_data.py"


def test_same_seed_same_bytes_other_seed_other_bytes(make_data, files):
    def digest(made):
        return hashlib.sha256("".join(made.values()).encode()).hexdigest()

    assert digest(make_data.files(make_data.SEED)) == digest(files)
    assert digest(make_data.files(make_data.SEED + 1)) != digest(files)


def test_size_and_share_of_dirt(files):
    kinds = json.loads(files["dirt.json"])
    rows = sum(sum(source.values()) for source in kinds.values())
    good = sum(source["good"] for source in kinds.values())
    assert rows >= 3000
    assert 0.10 <= 1 - good / rows <= 0.15
    assert sum(len(text.encode()) for text in files.values()) < 1_500_000


def test_crm_has_one_broken_line_and_a_cut_off_end(files):
    lines = files["tickets_crm.jsonl"].split("\n")
    broken = []
    for number, line in enumerate(lines):
        try:
            json.loads(line)
        except ValueError:
            broken.append(number)
    assert len(broken) == 2
    assert broken[-1] == len(lines) - 1  # no newline at the end: the last line is cut off


def test_mail_has_a_bom_and_ragged_rows(files):
    text = files["tickets_mail.csv"]
    assert text.startswith("\ufeff")
    rows = list(csv.reader(io.StringIO(text[1:])))
    assert rows[0] == ["received", "sender", "body", "label"]
    ragged = [row for row in rows if len(row) != 4]
    assert len(ragged) == 6
    assert {len(row) for row in ragged} == {3, 5}


def test_chat_is_one_json_array_with_wrong_roles_and_turns(files):
    rows = json.loads(files["tickets_chat.json"])
    roles = [tuple(turn["from"] for turn in row["conversations"]) for row in rows]
    assert any("narrator" in turns for turns in roles)
    assert ("human", "human", "gpt") in roles
    assert ("human", "gpt", "human", "gpt") in roles
    assert any(turns[-1] == "human" for turns in roles)


def test_prompts_are_messages_that_are_in_no_source(files):
    sources = "".join(files[name] for name in files if name.startswith("tickets"))
    prompts = [json.loads(line)["messages"] for line in files["prompts.jsonl"].splitlines()]
    assert len(prompts) == 12
    for messages in prompts:
        assert messages[-1]["role"] == "user"
        assert messages[-1]["content"] not in sources


def test_answers_are_one_line_of_json_from_closed_sets():
    rng = random.Random(5)
    for _ in range(300):
        made = ticket(rng)
        said = json.loads(made.answer())
        assert list(said) == ["intent", "product", "urgency"]
        assert said["intent"] in MATTERS
        assert said["product"] in PRODUCTS
        assert said["urgency"] in URGENCY
        assert "\n" not in made.answer()
        assert len(made.answer()) >= 20  # the usual lower bound of the length step


def test_messages_are_hardly_ever_the_same():
    rng = random.Random(6)
    messages = [ticket(rng).message.lower() for _ in range(5000)]
    assert len(set(messages)) > 4950  # so a test row is next to never a training row


def test_no_phrase_and_no_alias_stands_for_two_labels():
    for table in (MATTERS, PRODUCTS, URGENCY):
        phrases = [p for label in table.values() for p in set(label) if p]
        assert len(phrases) == len(set(phrases))


def test_sentence():
    assert sentence("where is it") == "Where is it?"
    assert sentence("It came") == "It came."
