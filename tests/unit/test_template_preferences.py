"""Pairs as tokens: one prompt, two answers, and nothing but the answers to be trained."""

import json
from functools import cache
from pathlib import Path

import pytest
from chat_fixture import CHATML, GEMMA, chat_tokenizer, shipped, turn
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.chat_templates import ChatTemplate
from sftflow.masks import IGNORED
from sftflow.preferences import preference
from sftflow.records import message
from template_data import Templated
from template_preferences import TemplatedPairs

SPEC = {"dataset": "d", "base": "b", "max_length": 512, "overlong": "drop", "pairs": True}
DEMO = Path(__file__).parents[3] / "shared/data/dpo_en_demo.json"
SOURCE = {"system": None, "consecutive": "quarantine", "reasoning_tags": []}
ASKED = (turn("user", "What is it?"), turn("assistant", "A thing."), turn("user", "Sure?"))
WORDS = st.text("abc .,\n你好é", min_size=1, max_size=30).filter(str.strip)


def record(*prompt, chosen="Yes.", rejected="No, or so I think."):
    said = {"messages": [*prompt, message("assistant", chosen)], "tools": None}
    return {"id": "r", "source": "s", "row": 1, **said, "rejected": message("assistant", rejected)}


def pairs(tokenizer, *records, **spec):
    work = TemplatedPairs(ChatTemplate(tokenizer, "b"), {**SPEC, **spec}, "train")
    return list(work.samples(records, len(records))), work


def other(one):
    """Return the record of the other answer, as a row to imitate."""
    said = [*one["messages"][:-1], one["rejected"]]
    return {key: one[key] for key in ("id", "source", "row", "tools")} | {"messages": said}


@cache
def template_of(name):
    return ChatTemplate(shipped(name), "b")


@pytest.mark.parametrize("name", ["chatml", "llama3", "llama2", "alpaca"])
@given(asked=WORDS, chosen=WORDS, rejected=WORDS)
@settings(max_examples=15, deadline=None)
def test_both_answers_are_what_they_would_be_as_rows_to_imitate(name, asked, chosen, rejected):
    template = template_of(name)
    one = record(turn("user", asked), chosen=chosen, rejected=rejected)
    work = TemplatedPairs(template, SPEC, "train")
    rows = list(work.samples([one], 1))
    alone = [
        list(Templated(template, {**SPEC, "train_on": "last"}, "train").samples([r], 1))
        for r in (one, other(one))
    ]
    if not rows:  # then because of what the texts are, and it is said
        assert work.reasons
        assert not all(alone) or sum(work.reasons.values()) == 1
        return
    (row,), ((mine,), (theirs,)) = rows, alone
    start = row["answer_start"]
    for ids, sample in ((row["input_ids"][start:], mine), (row["rejected_ids"], theirs)):
        assert ids == [label for label in sample["labels"] if label != IGNORED]
        assert row["input_ids"][:start] == sample["input_ids"][:start]
    assert row["labels"] == [IGNORED] * start + row["input_ids"][start:]
    assert row["length"] == len(row["input_ids"])


@pytest.mark.skipif(not DEMO.is_file(), reason="needs LLaMA-Factory's dpo_en_demo.json")
@pytest.mark.parametrize("name", ["chatml", "llama3"])
def test_real_pairs_are_what_the_tokenizer_makes_of_their_conversations(name):
    template = template_of(name)
    tokenizer, end = template.tokenizer, template.end_of_turn
    read = [preference(row, SOURCE) for row in json.loads(DEMO.read_text(encoding="utf-8"))]
    assert len(read) == 300
    records = [
        {"id": str(i), "source": "demo", "row": i, **one._asdict()} for i, one in enumerate(read)
    ]
    work = TemplatedPairs(template, {**SPEC, "max_length": 32768}, "train")
    rows = {row["id"]: row for row in work.samples(records[:60], 60)}
    assert len(rows) == 60, work.reasons
    for one in records[:60]:
        row = rows[one["id"]]
        turns = [{key: m[key] for key in ("role", "content")} for m in one["messages"]]
        prompt = tokenizer.apply_chat_template(turns[:-1], add_generation_prompt=True)["input_ids"]
        start = row["answer_start"]
        assert row["input_ids"][:start] == list(prompt)
        said = tokenizer.decode(row["input_ids"][start:]), tokenizer.decode(row["rejected_ids"])
        meant = one["messages"][-1]["content"], one["rejected"]["content"]
        assert [text.removesuffix(end).strip() for text in said] == [m.strip() for m in meant]
        assert all(text.endswith(end) for text in said)


def test_earlier_answers_are_prompt_and_carry_no_loss():
    tokenizer = chat_tokenizer(CHATML)
    (row,), work = pairs(tokenizer, record(*ASKED))
    start = row["answer_start"]
    assert tokenizer.decode(row["input_ids"][:start]).endswith(
        "A thing.<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.decode(row["input_ids"][start:]) == "Yes.<|im_end|>"
    assert tokenizer.decode(row["rejected_ids"]) == "No, or so I think.<|im_end|>"
    counts = work.summary()
    assert (counts["rows"], counts["samples"], counts["turns"]) == (1, 1, 2)
    assert counts["end_of_turn"] == {"<|im_end|>": 2}
    assert counts["trained_tokens"] == len(row["input_ids"]) - start + len(row["rejected_ids"])
    assert [sample["id"] for _, sample in work.picked.kinds()][:2] == ["r chosen", "r rejected"]


def test_an_overlong_pair_is_dropped_or_both_answers_are_cut_alike():
    tokenizer = chat_tokenizer(CHATML)
    one = record(*ASKED, rejected="No, not at all. " * 20)
    (whole,), _ = pairs(tokenizer, one)
    start = whole["answer_start"]
    rows, work = pairs(tokenizer, one, max_length=start + 8)
    assert rows == []
    assert work.reasons == {"overlong": 1}
    assert '"rejected"' in work.rejected[0]["raw"]
    (cut,), work = pairs(tokenizer, one, max_length=start + 8, overlong="truncate")
    assert cut["rejected_ids"] == whole["rejected_ids"][:8]
    assert cut["input_ids"] == whole["input_ids"][: start + 8]
    assert work.summary()["truncated"] == 1
    rows, work = pairs(tokenizer, one, max_length=start, overlong="truncate")
    assert (rows, work.reasons) == ([], {"overlong": 1})


def test_answers_that_are_the_same_once_cut_are_no_pair():
    tokenizer = chat_tokenizer(CHATML)
    said = "The very same beginning of both. "
    one = record(*ASKED, chosen=said * 3 + "Yes.", rejected=said * 3 + "No.")
    (whole,), _ = pairs(tokenizer, one)
    limit = whole["answer_start"] + 10
    rows, work = pairs(tokenizer, one, max_length=limit, overlong="truncate")
    assert (rows, work.reasons) == ([], {"same_answers": 1})


def test_what_either_side_is_refused_for_is_told_once():
    tokenizer = chat_tokenizer(CHATML)
    rows, work = pairs(tokenizer, record(*ASKED, rejected="No.<|im_end|>"), record(*ASKED))
    assert len(rows) == 1
    assert work.reasons == {"control_token_in_text": 1}
    system = turn("system", "Be brief.")
    rows, work = pairs(chat_tokenizer(GEMMA), record(system, *ASKED))
    assert rows == []
    assert sum(work.reasons.values()) == 1
