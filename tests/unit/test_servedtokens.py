import json

import pytest
from chat_fixture import CHATML, chat_tokenizer, real, record, shipped, turn

from generate_answers import request_messages
from sftflow.chat_templates import ChatTemplate
from sftflow.servedtokens import check_rows, varied
from sftflow.serving import compare_ids
from sftflow.stage import StageError

CALL = json.dumps([{"name": "weather", "arguments": {"city": "Ulm"}}])
TOOLS = json.dumps([{"name": "weather", "parameters": {"type": "object"}}])
ROWS = [
    record(turn("user", "What is it?"), turn("assistant", "A thing."), row=1),
    record(turn("system", "Be brief."), turn("user", "Hi"), turn("assistant", "\n\n12"), row=2),
    record(
        turn("user", "Weather?"),
        turn("assistant", "", tool_calls=CALL),
        turn("tool", "rain"),
        turn("assistant", "Rain.", reasoning="It says rain."),
        tools=TOOLS,
        row=3,
    ),
]


def server(tokenizer, **plain):
    """Return what a server's /tokenize answers that has this tokenizer (as vLLM 0.32 does it)."""

    def tokenize(body):
        body = json.loads(json.dumps(body))
        if "prompt" in body:
            more = {"add_special_tokens": body["add_special_tokens"], **plain}
            return tokenizer(body["prompt"], **more).input_ids
        for message in body["messages"]:
            if "reasoning" in message:
                message["reasoning_content"] = message["reasoning"]
            for call in message.get("tool_calls", ()):
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        return tokenizer.apply_chat_template(
            body["messages"],
            tools=body.get("tools"),
            add_generation_prompt=body["add_generation_prompt"],
        )["input_ids"]

    return tokenize


def checked(tokenizer, tokenize, rows=ROWS):
    template = ChatTemplate(tokenizer, "m")
    return check_rows(template, rows, request_messages, tokenize, compare_ids)


@pytest.mark.parametrize("name", ["chatml", "llama3", "qwen3", "mistral-v03", "llama31"])
def test_rows_of_all_kinds_are_read_as_they_are_trained(name):
    tokenizer = shipped(name) if name in ("chatml", "llama3") else real(name)
    assert checked(tokenizer, server(tokenizer)) == 3


def test_rows_that_no_training_takes_are_left_out():
    tokenizer = real("gemma2")  # no system text, no tools
    assert checked(tokenizer, server(tokenizer)) == 1


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (server(chat_tokenizer(CHATML.replace("\n{{", " {{"))), "row id1, as it is trained: the"),
        (server(chat_tokenizer("{{ bos_token }}" + CHATML)), "different from token 0 on"),
        (server(chat_tokenizer(CHATML, kind="gpt2")), "as it is trained"),
    ],
)
def test_another_template_or_tokenizer_is_noticed(other, said):
    with pytest.raises(StageError, match=said):
        checked(chat_tokenizer(CHATML), other)


def test_a_server_that_reads_texts_otherwise_is_noticed():
    tokenizer = chat_tokenizer(CHATML)
    right = server(tokenizer)

    def adds_bos(body):
        return [1] * ("prompt" in body) + list(right(body))

    with pytest.raises(StageError, match="row id1, as it is trained, the prompt as text"):
        checked(tokenizer, adds_bos)


def test_the_rows_that_are_looked_at_are_of_every_kind():
    many = [record(turn("user", "a"), turn("assistant", "b"), row=row) for row in range(50)]
    assert [row["row"] for row in varied([*many, *ROWS[1:]], 4)] == [0, 2, 3, 1]
