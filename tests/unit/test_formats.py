"""Rows of every known format to conversations; each fault has its reason."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftflow.formats import conversation, recognised
from sftflow.jsontext import Refused

U = {"role": "user", "content": "Ask?"}
A = {"role": "assistant", "content": "Answer."}
CALL = '{"name": "f", "arguments": {"x": 1}}'
CALLS = '[{"arguments":{"x":1},"name":"f"}]'


def spec(**more):
    return {"format": "auto", "columns": None, "system": None, "consecutive": "quarantine", **more}


def said(row, **more):
    """Return the conversation as (role, content) pairs."""
    return [(m["role"], m["content"]) for m in conversation(row, spec(**more)).messages]


def reason(row, **more):
    with pytest.raises(Refused) as error:
        conversation(row, spec(**more))
    assert error.value.detail
    return error.value.reason


ASKED = [("user", "Ask?"), ("assistant", "Answer.")]


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"instruction": "Ask?", "input": "", "output": "Answer."}, "alpaca"),
        ({"instruction": "Ask?", "response": "Answer."}, "alpaca"),
        ({"instruction": "Ask?", "context": "", "response": "Answer."}, "alpaca"),
        ({"instruction": "Ask?", "input": None, "output": "Answer.", "messages": None}, "alpaca"),
        ({"messages": [U, A]}, "messages"),
        ({"messages": json.dumps([U, A])}, "messages"),
        ({"conversations": [U, A]}, "sharegpt"),
        (
            {
                "conversations": [
                    {"from": "Human", "value": "Ask?"},
                    {"from": "gpt", "value": "Answer."},
                ]
            },
            "sharegpt",
        ),
        ({"prompt": "Ask?", "completion": "Answer."}, "prompt_completion"),
        ({"prompt": [U], "completion": [A]}, "prompt_completion"),
        ({"question": "Ask?", "answer": "Answer."}, "prompt_completion"),
        ({"query": "Ask?", "response": "Answer."}, "prompt_completion"),
        ({"input": "Ask?", "output": "Answer."}, "prompt_completion"),
    ],
)
def test_formats_are_told_by_their_keys(row, kind):
    assert recognised(row) == kind
    assert said(row) == ASKED
    assert said(row, format=kind) == ASKED


def test_alpaca_with_everything():
    row = {
        "instruction": "Translate.",
        "input": "Hund",
        "output": "dog",
        "system": "Be brief.",
        "history": [["Hi", "Hello"], ["Ready?", "Yes"]],
    }
    assert said(row) == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Ready?"),
        ("assistant", "Yes"),
        ("user", "Translate.\nHund"),
        ("assistant", "dog"),
    ]


@pytest.mark.parametrize("alias", ["user", "human", "User ", "prompter"])
@pytest.mark.parametrize("answerer", ["gpt", "assistant", "bot", "chatgpt", "model"])
def test_role_aliases(alias, answerer):
    row = {
        "conversations": [{"from": alias, "value": "Ask?"}, {"from": answerer, "value": "Answer."}]
    }
    assert said(row) == ASKED


def test_sharegpt_tools():
    row = {
        "conversations": [
            {"from": "human", "value": "Ask?"},
            {"from": "function_call", "value": CALL},
            {"from": "observation", "value": "{}"},
            {"from": "gpt", "value": "Answer."},
        ],
        "tools": '[{"name": "f", "description": "d"}]',
        "system": "Use tools.",
    }
    found = conversation(row, spec())
    assert [m["role"] for m in found.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert found.messages[2]["tool_calls"] == CALLS
    assert found.messages[2]["content"] == ""
    assert json.loads(found.tools) == [{"name": "f", "description": "d"}]
    assert found.unused == []


def test_openai_tools():
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}
    row = {
        "messages": [
            U,
            {"role": "assistant", "content": None, "tool_calls": [call, call]},
            {"role": "tool", "tool_call_id": "1", "content": "1"},
            {"role": "tool", "content": "2"},
            A,
        ]
    }
    found = conversation(row, spec())
    assert json.loads(found.messages[1]["tool_calls"]) == [{"name": "f", "arguments": {"x": 1}}] * 2
    assert [m["role"] for m in found.messages][2:] == ["tool", "tool", "assistant"]


def test_text_and_the_call_that_follows_it_are_one_turn():
    turns = [
        {"from": "human", "value": "Ask?"},
        {"from": "gpt", "value": "Let me see."},
        {"from": "function_call", "value": CALL},
        {"from": "function_call", "value": CALL},
        {"from": "observation", "value": "1"},
        {"from": "gpt", "value": "Answer."},
    ]
    found = conversation({"conversations": turns}, spec()).messages
    assert len(found) == 4
    assert found[1]["content"] == "Let me see."
    assert len(json.loads(found[1]["tool_calls"])) == 2


def test_parts_weights_and_reasoning():
    parts = [{"type": "text", "value": "An"}, {"type": "text", "text": "swer."}]
    answer = {
        "role": "assistant",
        "content": parts,
        "loss_weight": 0.5,
        "reasoning_content": " Hm. ",
    }
    found = conversation({"messages": [{**U, "loss_weight": 0.0}, answer]}, spec()).messages
    assert found[1] == {
        "role": "assistant",
        "content": "Answer.",
        "reasoning": "Hm.",
        "tool_calls": None,
        "weight": 0.5,
    }
    assert found[0]["weight"] == 0.0


def test_columns_from_the_config():
    row = {"Frage": "Ask?", "Mehr": "More.", "Antwort": "Answer.", "Rolle": "Be kind.", "nr": 3}
    columns = {"prompt": "Frage", "input": "Mehr", "completion": "Antwort", "system": "Rolle"}
    assert said(row, columns=columns) == [
        ("system", "Be kind."),
        ("user", "Ask?\nMore."),
        ("assistant", "Answer."),
    ]
    assert conversation(row, spec(columns=columns)).unused == ["nr"]
    listed = {"chat": [U, A]}
    assert said(listed, columns={"messages": "chat"}) == ASKED
    assert reason(row, columns={"prompt": "Frage", "completion": "antwort"}) == "missing_field"


def test_the_system_prompt_of_the_config_is_a_default():
    row = {"prompt": "Ask?", "completion": "Answer."}
    assert said(row, system="Be brief.") == [("system", "Be brief."), *ASKED]
    own = {"messages": [{"role": "system", "content": "Own."}, U, A]}
    assert said(own, system="Be brief.")[0] == ("system", "Own.")
    blank = {"messages": [{"role": "system", "content": " "}, U, A]}
    assert said(blank) == ASKED
    assert said(blank, system="Be brief.")[0] == ("system", "Be brief.")
    assert reason({**own, "system": "Other."}) == "system_twice"
    assert said({**own, "system": "Own."})[0] == ("system", "Own.")


def turn(role, content="text", **more):
    return {"role": role, "content": content, **more}


FAULTS = {
    "no_turns": [],
    "no_assistant": [U],
    "assistant_first": [A],
    "unknown_role": [turn("narrator"), A],
    "system_not_first": [U, A, turn("system"), U, A],
    "system_twice": [turn("system"), turn("system"), U, A],
    "consecutive_roles": [U, U, A],
    "blank_user": [turn("user", " \n"), A],
    "blank_assistant": [U, turn("assistant", "")],
    "null_text": [U, turn("assistant", None)],
    "missing_field": [U, {"role": "assistant"}],
    "not_text": [U, turn("assistant", 42)],
    "invalid_turn": [U, "text"],
    "tool_result_without_call": [U, turn("tool"), A],
    "tool_call_without_result": [U, turn("assistant", "", tool_calls=[json.loads(CALL)]), U, A],
    "tool_result_unanswered": [
        U,
        turn("assistant", "", tool_calls=[json.loads(CALL)]),
        turn("tool"),
        U,
        A,
    ],
    "invalid_tool_call": [U, turn("function_call", "not json")],
    "invalid_weight": [U, turn("assistant", weight=-1)],
    "no_weight": [U, turn("assistant", weight=0)],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_turns(fault):
    assert reason({"messages": FAULTS[fault]}) == fault


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"conversations": [], "chosen": {}, "rejected": {}}, "preference_pair"),
        ({"instruction": "x", "instances": []}, "unknown_format"),
        ({"turns": ["x"]}, "unknown_format"),
        ({"text": "x"}, "unknown_format"),
        ({}, "unknown_format"),
        ({"instruction": "x", "output": None}, "null_text"),
        ({"instruction": "x", "output": 42}, "not_text"),
        ({"instruction": "x", "output": True}, "not_text"),
        ({"instruction": "x", "output": ["y"]}, "not_text"),
        ({"instruction": "x", "output": {"y": 1}}, "not_text"),
        ({"instruction": "x", "output": " "}, "blank_assistant"),
        ({"instruction": "", "input": "", "output": "y"}, "blank_user"),
        ({"instruction": "x", "output": "y", "history": [["a"]]}, "invalid_history"),
        ({"messages": "no json"}, "invalid_list"),
        ({"messages": {"role": "user"}}, "invalid_list"),
        ({"messages": [U, A], "tools": "{"}, "invalid_tools"),
        ({"messages": [U, A], "tools": [{"name": b"f"}]}, "invalid_tools"),  # as Parquet may
        ({"messages": [U, A], "tools": [{"x": float("nan")}]}, "invalid_tools"),
        (
            {"messages": [U, {"role": "assistant", "tool_calls": {"name": b""}}]},
            "invalid_tool_call",
        ),
        ({"messages": [U, {"role": "assistant", "content": [{"type": "image_url"}]}]}, "not_text"),
    ],
)
def test_faults_of_rows(row, fault):
    assert reason(row) == fault


def test_a_declared_format_with_other_names_says_which_there_are():
    with pytest.raises(Refused, match=r"no 'instruction' among the keys \[Instruction, Output\]"):
        conversation({"Instruction": "x", "Output": "y"}, spec(format="alpaca"))
    with pytest.raises(Refused, match="name the columns under `columns`"):
        conversation({"Instruction": "x", "Output": "y"}, spec())


def test_a_tail_without_an_answer_is_trimmed():
    found = conversation({"messages": [U, A, U]}, spec())
    assert [m["role"] for m in found.messages] == ["user", "assistant"]
    assert found.notes == ["tail_trimmed"]


def test_turns_of_one_role_are_merged_if_asked():
    found = conversation({"messages": [U, U, A, A]}, spec(consecutive="merge"))
    assert [(m["role"], m["content"]) for m in found.messages] == [
        ("user", "Ask?\n\nAsk?"),
        ("assistant", "Answer.\n\nAnswer."),
    ]
    assert found.notes == ["turns_merged"]


def test_hundreds_of_turns():
    assert len(said({"messages": [U, A] * 500})) == 1000


VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["role", "from", "content", "value", "type", "text", "tool_calls", "name"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
KEYS = ["messages", "conversations", "instruction", "input", "output", "prompt", "completion"]
KEYS += ["tools", "system", "history", "chosen", "rejected", "question", "answer"]
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "gpt", "system", "tool", "function_call", "x"])},
    optional={"content": VALUE, "value": VALUE, "weight": VALUE, "tool_calls": VALUE},
)


@settings(max_examples=60, deadline=None)
@given(
    row=st.dictionaries(st.sampled_from(KEYS), st.one_of(VALUE, st.lists(TURN, max_size=5))),
    kind=st.sampled_from(["auto", "alpaca", "sharegpt", "messages", "prompt_completion"]),
    consecutive=st.sampled_from(["merge", "quarantine"]),
)
def test_any_row_is_a_conversation_or_refused(row, kind, consecutive):
    try:
        found = conversation(row, spec(format=kind, consecutive=consecutive))
    except Refused as error:
        assert error.reason.isidentifier()
        return
    roles = [m["role"] for m in found.messages]
    assert roles[-1] == "assistant"
    assert set(roles) <= {"system", "user", "assistant", "tool"}
    assert all(isinstance(m["content"], str) for m in found.messages)
