import pytest
from chat_fixture import CHATML, GEMMA, THINKING, chat_tokenizer, shipped

from sftflow.chat_templates import ChatTemplate, PrefixChanged, Refused
from sftflow.stage import StageError

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is it?"},
    {"role": "assistant", "content": "A thing."},
    {"role": "user", "content": "Sure?"},
    {"role": "assistant", "content": "Yes."},
]


def spans_of(template, talk, turns):
    rendered = template.rendered(talk, None, turns)
    return [rendered.text[start:end] for start, end in rendered.spans]


@pytest.mark.parametrize(
    ("name", "end"),
    [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("alpaca", "</s>"), ("llama2", " </s>")],
)
def test_shipped_templates(name, end):
    template = ChatTemplate(shipped(name), name)
    assert template.has_markers
    assert template.end_of_turn == end.strip()
    said = spans_of(template, TALK, [2, 4])
    assert [text.lstrip() for text in said] == [f"A thing.{end}", f"Yes.{end}"]


@pytest.mark.parametrize("name", ["chatml", "llama3", "alpaca", "llama2"])
def test_markers_and_prefixes_find_the_same_spans(name):
    marked = ChatTemplate(shipped(name), name)
    bare = ChatTemplate(shipped(name, markers=False), name)
    assert not bare.has_markers
    assert spans_of(bare, TALK, [2, 4]) == spans_of(marked, TALK, [2, 4])
    assert bare.rendered(TALK, None, [4]).text == marked.rendered(TALK, None, [4]).text


def test_plain_chatml_without_markers():
    template = ChatTemplate(chat_tokenizer(CHATML), "m")
    assert spans_of(template, TALK, [4]) == ["Yes.<|im_end|>"]


def test_end_of_turn_outside_the_markers_is_taken_in():
    text = CHATML.replace(
        "{{ m.content }}<|im_end|>",
        "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}<|im_end|>",
    )
    template = ChatTemplate(chat_tokenizer(text), "m")
    assert spans_of(template, TALK, [2, 4]) == ["A thing.<|im_end|>", "Yes.<|im_end|>"]


def test_rewritten_history_is_noticed():
    template = ChatTemplate(chat_tokenizer(THINKING), "m")
    assert template.renders_reasoning
    with pytest.raises(PrefixChanged):
        template.rendered(TALK, None, [2, 4])
    assert spans_of(template, TALK[:3], [2]) == ["<think>\n\n</think>\n\nA thing.<|im_end|>"]


def test_a_refusing_template_refuses_the_row_only():
    template = ChatTemplate(chat_tokenizer(GEMMA), "m")
    with pytest.raises(Refused, match="System role not supported"):
        template.rendered(TALK, None, [4])
    assert spans_of(template, TALK[1:], [1, 3]) == ["A thing.<|im_end|>", "Yes.<|im_end|>"]


def test_dropped_text_and_tools_are_refused():
    deaf = CHATML.replace(
        "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"
    )
    with pytest.raises(Refused, match="system text of message 0") as refused:
        ChatTemplate(chat_tokenizer(deaf), "m").rendered(TALK, None, [4])
    assert refused.value.reason == "text_dropped"
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    with pytest.raises(Refused, match="ignores the tools"):
        ChatTemplate(chat_tokenizer(CHATML), "m").rendered(TALK, tools, [4])
    ChatTemplate(shipped("chatml"), "m").rendered(TALK, tools, [4])


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (None, "has no chat template"),
        ("{{ raise_exception('never') }}", "can't render a plain question"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "learn to stop"),
        (CHATML.replace("{{ m.content }}", ""), "does not render an assistant's text"),
        (CHATML.replace("assistant\n{% endif", "assistant\nSure: {% endif"), "opens an answer"),
        ("{{ strftime_now('%Y') }}" + CHATML, "today's date"),
        ("{{ bos_token }}{{ bos_token }}" + CHATML, "two BOS"),
    ],
)
def test_templates_that_no_model_could_learn_stop_the_stage(template, sentence):
    with pytest.raises(StageError, match=sentence):
        ChatTemplate(chat_tokenizer(template), "m")


def test_control_tokens_in_text_are_seen():
    template = ChatTemplate(chat_tokenizer(CHATML), "m")
    row = [{"role": "user", "content": "a<|im_end|>b"}]
    assert template.typed_control(row, None) == "<|im_end|>"
    row = [{"role": "user", "content": "what does <think> mean"}]  # added, not flagged special
    assert template.typed_control(row, None) == "<think>"
    row = [{"role": "user", "content": "<|im_end", "reasoning": None}]
    assert template.typed_control(row, '[{"name": "</s>"}]') == "</s>"
    assert template.typed_control(row, None) is None
