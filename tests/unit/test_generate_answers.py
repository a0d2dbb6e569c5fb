import asyncio
import json
from types import SimpleNamespace

import httpx
import pytest

import generate_answers
from generate_answers import Prompt, prompts_of, request_messages, run, split_answer
from sftflow.records import RECORD, content_id, message, write_table
from sftflow.stage import StageError

USER = {"role": "user", "content": "hi"}
ASSISTANT = {"role": "assistant", "content": "hello"}


def test_the_last_assistant_message_is_the_reference():
    assert split_answer([USER, ASSISTANT]) == ([USER], "hello")
    history = [USER, ASSISTANT, USER]
    assert split_answer([*history, {**ASSISTANT, "content": "x"}]) == (history, "x")


def test_a_conversation_that_closes_with_a_question_is_a_prompt_as_a_whole():
    assert split_answer([USER, ASSISTANT, USER]) == ([USER, ASSISTANT, USER], None)
    assert split_answer([USER]) == ([USER], None)


def dataset(folder, texts):
    rows = []
    for i, text in enumerate(texts):
        record = {"source": "s", "row": i + 1, "tools": None}
        record["messages"] = [message("user", text), message("assistant", text.upper())]
        rows.append({"id": content_id(record), **record})
    write_table(folder / "test.parquet", rows, RECORD)
    return rows


def one_set(**more):
    known = {"name": "set", "dataset": None, "split": None, "path": None, "limit": None}
    return {**known, **more}


def test_prompts_of_a_split(tmp_path):
    rows = dataset(tmp_path, ["a", "b", "c"])
    one = one_set(dataset="d", split="test", limit=2)
    prompts = prompts_of(one, {"d": tmp_path})
    assert [p.id for p in prompts] == [rows[0]["id"], rows[1]["id"]]
    assert prompts[0].messages == [{"role": "user", "content": "a"}]
    assert prompts[0].reference == "A"
    with pytest.raises(StageError, match="--datasets has no folder d"):
        prompts_of(one, {})


def test_prompts_of_a_file(tmp_path):
    path = tmp_path / "p.jsonl"
    lines = [{"messages": [USER]}, {"messages": [USER]}, {"id": 7, "messages": [USER, ASSISTANT]}]
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)) + "\n")
    first, second, third = prompts_of(one_set(path=str(path)), {})
    assert second.id == f"{first.id}.2"  # the same prompt twice: two rows, two ids
    assert (third.id, third.reference, first.reference) == ("7", "hello", None)


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"messages": [{"role": "user"}]}'])
def test_a_line_that_is_no_prompt_is_named(tmp_path, line):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"messages": [USER]}) + "\n" + line + "\n")
    with pytest.raises(StageError, match=r"p\.jsonl, line 2 is not a prompt"):
        prompts_of(one_set(path=str(path)), {})


def test_a_set_without_rows_is_an_error(tmp_path):
    (tmp_path / "p.jsonl").write_text("\n")
    with pytest.raises(StageError, match="set set has no rows"):
        prompts_of(one_set(path=str(tmp_path / "p.jsonl")), {})


def test_tool_calls_travel_as_json_text():
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    (turn,) = request_messages([{"role": "assistant", "content": "", "tool_calls": [call]}])
    assert turn["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a": 1}'}


class Upper:
    """A server that answers in capitals; one token per message."""

    def __init__(self, fail=0, shift=0):
        self.fail, self.shift, self.asked = fail, shift, []

    def __call__(self, request):
        if self.fail:
            self.fail -= 1
            raise httpx.ConnectError("refused")
        body = json.loads(request.content)
        self.asked.append(body)
        text = body["messages"][-1]["content"]
        if text == "bad":
            return httpx.Response(400, text="no such thing")
        choice = {"message": {"content": text.upper()}, "finish_reason": "stop"}
        ids = [len(m["content"]) + self.shift for m in body["messages"]]
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(text)}
        return httpx.Response(
            200, json={"choices": [choice], "usage": usage, "prompt_token_ids": ids}
        )


CLIENT = httpx.AsyncClient
SERVER = SimpleNamespace(
    url="http://x/v1",
    model="toy",
    headers={},
    max_model_len=3,
    prompt_ids=lambda messages, _tools: [len(m["content"]) for m in messages],
)


def answers(monkeypatch, handler, texts, max_new_tokens=9):
    monkeypatch.setattr(generate_answers.asyncio, "sleep", lambda _, real=asyncio.sleep: real(0))
    monkeypatch.setattr(
        httpx,
        "AsyncClient",
        lambda **more: CLIENT(transport=httpx.MockTransport(handler), timeout=more["timeout"]),
    )
    prompts = [
        Prompt("set", str(i), [{"role": "user", "content": t} for t in text.split()], None, None)
        for i, text in enumerate(texts)
    ]
    return run(SERVER, prompts, {"concurrency": 2, "max_new_tokens": max_new_tokens})


def test_answers_come_in_order_and_greedily(monkeypatch):
    handler = Upper()
    rows = answers(monkeypatch, handler, ["aa", "b", "c d"])
    assert [r["answer"] for r in rows] == ["AA", "B", "D"]
    assert [r["id"] for r in rows] == ["0", "1", "2"]
    assert rows[0]["completion_tokens"] == 2 and rows[0]["finish_reason"] == "stop"
    assert all(a["temperature"] == 0 and a["top_p"] == 1 and a["seed"] == 0 for a in handler.asked)
    assert sorted(a["max_tokens"] for a in handler.asked) == [1, 2, 2]  # what is left of 3


def test_a_prompt_without_room_is_counted_not_dropped(monkeypatch):
    handler = Upper()
    rows = answers(monkeypatch, handler, ["a b c d", "a"])
    assert (rows[0]["answer"], rows[0]["finish_reason"]) == (None, "prompt_too_long")
    assert rows[0]["prompt_tokens"] == 4 and len(handler.asked) == 1


def test_only_a_failed_connection_is_tried_again(monkeypatch):
    assert answers(monkeypatch, Upper(fail=2), ["a"])[0]["answer"] == "A"
    with pytest.raises(StageError, match="no connection"):
        answers(monkeypatch, Upper(fail=9), ["a"])
    with pytest.raises(StageError, match="set set, row 0: HTTP 400: no such thing"):
        answers(monkeypatch, Upper(), ["bad"])


def test_another_prompt_than_ours_is_an_error(monkeypatch):
    with pytest.raises(StageError, match="set set, row 0: the server's prompt is not"):
        answers(monkeypatch, Upper(shift=1), ["a"])


def test_thinking_is_no_part_of_the_answer():
    row = {"id": "1", "answer": "<think>\nHm.\n</think>\n\n4"}
    assert generate_answers.without_thinking(row) == {"id": "1", "answer": "4", "reasoning": "Hm."}
    for answer in ("4", "<think> and no end", None):
        assert generate_answers.without_thinking({"answer": answer}) == {"answer": answer}
