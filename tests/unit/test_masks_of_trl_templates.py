"""Masks of the templates that TRL ships, copied from models' repositories, as they come."""

import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest
from chat_fixture import chat_tokenizer, record, turn
from independent import expected
from test_masks_of_templates import CALLING, TALKS, TOOLS

from sftflow.chat_templates import ChatTemplate, Refused
from sftflow.conversations import template_messages, template_tools
from sftflow.stage import StageError
from sftflow.templatedrows import parts_of, samples_of
from sftflow.templateguards import check_served

FOLDER = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
NAMES = sorted(path.stem for path in FOLDER.glob("*.jinja"))
CONTROL = re.compile(
    r"<\|[^|>\s]+\|>|<｜[^｜]+｜>|<\|[a-z_\"]+>|<[a-z_]+\|>|<(?:start|end)_of_\w+>|\[/?[A-Z_]{3,}\]"
)
# What no probe can mend: the reason is in the sentence.
UNUSABLE = r"today's date|can't render a plain question|does not render an assistant's text"
# Refusals of rows that a template's authors or its way of writing turns are the reason of.
RIGHTLY = {
    "template_refused",
    "text_dropped",
    "tools_dropped",
    "tool_call_dropped",
    "turn_not_located",
}
ROWS = {name: record(*talk) for name, talk in TALKS.items()}
ROWS["a tool"] = record(*CALLING, tools=TOOLS)
THOUGHT = record(turn("user", "Why?"), turn("assistant", "So.", reasoning="Hm."))
ROWS["a thought"] = THOUGHT


@cache
def template(name):
    text = (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    control = sorted(set(CONTROL.findall(text)))
    ends = ("<|im_end|>", "<|return|>", "<end_of_turn>", "<turn|>", "<|END_OF_TURN_TOKEN|>")
    eos = next((end for end in ends if end in control), "</s>")
    control += ["<|endoftext|>", "[gMASK]", "<sop>", "<eos>"]
    return ChatTemplate(chat_tokenizer(text, eos, control=control), name)


def masked(one, row):
    parts = parts_of(one, row, "all", "train")
    samples = samples_of(one, parts)
    if len(samples) == len(parts):
        check_served(one, samples, parts)
    return [(sample.ids, sample.labels) for sample in samples]


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_those_of_a_second_implementation(name):
    try:
        one = template(name)
    except StageError as error:
        assert re.search(UNUSABLE, str(error)), error
        return
    compared = 0
    for talk, row in ROWS.items():
        try:
            mine = masked(one, row)
        except Refused as refused:
            assert refused.reason in RIGHTLY, (talk, refused.reason, refused.detail)
            continue
        compared += 1
        if one.opening or one.ending or talk == "a tool":
            continue  # not comparable: looked at below
        messages, tools = template_messages(row["messages"]), template_tools(row["tools"])
        assert mine == expected(one.tokenizer, messages, tools, one.end_of_turn), talk
    opens = any("opens each answer with thinking" in note for note in one.notes)
    assert compared >= (1 if opens else 5)


def said(name, row):
    one = template(name)
    decode = one.tokenizer.decode
    return [decode([i for i in labels if i != -100]) for _, labels in masked(one, row)]


def test_answers_that_end_with_the_first_token_of_the_next_turn():
    """GLM writes no token behind an answer; the last one's is added, as it will be sampled."""
    (all_turns,) = said("glm4moe", ROWS["a tool"])
    call = "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Ulm</arg_value>\n</tool_call>"
    assert all_turns == f"\n<think></think>\n{call}<|observation|>\n<think></think>\nRain.<|user|>"
    assert said("glm4moe", THOUGHT) == ["\n<think>Hm.</think>\nSo.<|user|>"]
    assert said("glm4moe_training", THOUGHT) == said("glm4moe", THOUGHT)  # TRL's own way
    assert "answers have no end of their own" in template("glm4moe").notes[0]


def test_a_template_that_opens_answers_with_thinking_takes_rows_that_think():
    name = "nemotron_3_nano"
    assert said(name, THOUGHT) == ["Hm.\n</think>\nSo.<|im_end|>"]
    with pytest.raises(Refused, match="if it opens answers with thinking, this one has none"):
        masked(template(name), ROWS["one turn"])
    assert "opens each answer with thinking" in template(name).notes[0]


def test_a_turn_that_goes_on_behind_a_tool_without_its_header():
    """The prompt behind a tool's result is served without it; the conversation writes it."""
    with pytest.raises(Refused, match=r"has '<\|turn>model\\n' before it, and the prompt"):
        masked(template("diffusion_gemma"), ROWS["a tool"])
