"""The chat templates that come with the project, rendered to the character."""

import pytest
from chat_fixture import SHIPPED

TALK = [
    {"role": "system", "content": "S"},
    {"role": "user", "content": "U1"},
    {"role": "assistant", "content": "A1"},
    {"role": "user", "content": "U2"},
    {"role": "assistant", "content": "A2"},
]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"a": "number"}}}
CALL = [
    {"role": "user", "content": "1+1?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}],
    },
    {"role": "tool", "content": "2"},
    {"role": "assistant", "content": "Two."},
]
STYLES = ("chatml", "alpaca", "llama2", "llama3")


def render(style, messages, tools=None, prompt=False):
    """Return the text and the parts of it that the model says itself."""
    from transformers.utils.chat_template_utils import render_jinja_template

    texts, spans = render_jinja_template(
        conversations=[messages],
        tools=tools,
        chat_template=(SHIPPED / f"{style}.jinja").read_text(encoding="utf-8"),
        return_assistant_tokens_mask=True,
        add_generation_prompt=prompt,
        bos_token="<s>",
        eos_token="</s>",
    )
    return texts[0], [texts[0][start:end] for start, end in spans[0]]


def header(role):
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


@pytest.mark.parametrize(
    ("style", "text"),
    [
        (
            "chatml",
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU1<|im_end|>\n"
            "<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nU2<|im_end|>\n"
            "<|im_start|>assistant\nA2<|im_end|>\n",
        ),
        (
            "alpaca",
            "<s>S\n\n### Instruction:\nU1\n\n### Response:\nA1</s>"
            "\n\n### Instruction:\nU2\n\n### Response:\nA2</s>",
        ),
        (
            "llama2",
            "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nU1 [/INST] A1 </s><s>[INST] U2 [/INST] A2 </s>",
        ),
        (
            "llama3",
            f"<s>{header('system')}S<|eot_id|>{header('user')}U1<|eot_id|>"
            f"{header('assistant')}A1<|eot_id|>{header('user')}U2<|eot_id|>"
            f"{header('assistant')}A2<|eot_id|>",
        ),
    ],
)
def test_a_talk_to_the_character(style, text):
    assert render(style, TALK)[0] == text


@pytest.mark.parametrize("style", STYLES)
def test_marked_are_the_answers_with_their_end_of_turn(style):
    end = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}.get(style, "</s>")
    marked = render(style, TALK)[1]
    assert [part.replace(" ", "") for part in marked] == [f"A1{end}", f"A2{end}"]


@pytest.mark.parametrize("style", STYLES)
def test_a_prompt_is_how_the_whole_begins(style):
    whole = render(style, TALK)[0]
    for length in (2, 4):
        prompt = render(style, TALK[:length], prompt=True)[0]
        assert whole.startswith(prompt)
        assert whole[len(prompt) :].lstrip().startswith("A")


@pytest.mark.parametrize("style", STYLES)
def test_without_a_system_turn(style):
    text, marked = render(style, TALK[1:3])
    assert "U1" in text
    assert len(marked) == 1
    assert ("Below is an instruction" in text) == (style == "alpaca")


@pytest.mark.parametrize("style", ["chatml", "llama3"])
def test_tools_and_calls(style):
    text, marked = render(style, CALL, tools=[TOOL])
    assert '"name": "add"' in text.split("1+1?")[0]  # listed before the question
    assert '{"a": 1}' in marked[0]
    assert marked[1].startswith("Two.")
    assert not any("1+1" in part or "\n2" in part for part in marked)
    system = [{"role": "system", "content": "Be brief."}, *CALL]
    text = render(style, system, tools=[TOOL])[0]
    assert text.index("Be brief.") < text.index('"name": "add"') < text.index("1+1?")


@pytest.mark.parametrize(
    ("style", "messages"),
    [
        ("alpaca", CALL),
        ("llama2", CALL),
        ("llama2", [TALK[1], TALK[1]]),
        ("chatml", [{"role": "narrator", "content": "x"}]),
        ("llama3", [{"role": "narrator", "content": "x"}]),
    ],
)
def test_what_a_style_can_not_say_is_refused(style, messages):
    from jinja2.exceptions import TemplateError

    with pytest.raises(TemplateError):
        render(style, messages)
