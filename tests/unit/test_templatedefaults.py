import pytest
from chat_fixture import CHATML, chat_tokenizer, real, shipped
from hypothesis import given
from hypothesis import strategies as st

from sftflow.chat_templates import ChatTemplate
from sftflow.stage import StageError
from sftflow.templatedefaults import with_defaults

ASK = [{"role": "user", "content": "What is it?"}]


def rendered(template, **values):
    tokenizer = chat_tokenizer(template)
    return tokenizer.apply_chat_template(ASK, tokenize=False, add_generation_prompt=True, **values)


def test_thinking_is_off_unless_somebody_asks_for_it():
    template = real("qwen3").chat_template
    off = with_defaults(template, {"enable_thinking": False})
    assert rendered(off) == rendered(template, enable_thinking=False)
    assert rendered(off).endswith("<think>\n\n</think>\n\n")
    assert rendered(off, enable_thinking=True) == rendered(template)


def test_an_answer_without_thinking_is_trained_behind_the_empty_thought():
    off = with_defaults(real("qwen3").chat_template, {"enable_thinking": False})
    template = ChatTemplate(chat_tokenizer(off), "m")
    said = template.rendered([*ASK, {"role": "assistant", "content": "A thing."}], None, [1])
    assert [said.text[start:end] for start, end in said.spans] == ["A thing.<|im_end|>"]


@pytest.mark.parametrize(
    "first", ["", "\n", "  ", "{# a #}\n  ", "  {% if true %}\n  x{% endif %}"]
)
def test_the_first_line_is_rendered_as_before(first):
    template = first + CHATML
    assert rendered(with_defaults(template, {"a": 1, "b": "x"})) == rendered(template)


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_any_text_arrives_as_it_is(text):
    assert rendered(with_defaults("{{ said }}", {"said": text})) == text


def test_a_date_makes_a_template_with_a_clock_usable():
    clock = "{% if date_string is not defined %}{% set date_string = strftime_now('%Y-%m-%d') %}"
    clock += "{% endif %}{{ date_string }}" + CHATML
    with pytest.raises(StageError, match=r"chat_template_kwargs \(Llama 3 calls it date_string\)"):
        ChatTemplate(chat_tokenizer(clock), "m")
    fixed = ChatTemplate(chat_tokenizer(with_defaults(clock, {"date_string": "26 Jul 2024"})), "m")
    assert fixed.render(ASK, None).startswith("26 Jul 2024<|im_start|>")


def test_shipped_styles_keep_their_masks():
    for name in ("chatml", "llama3", "alpaca", "llama2"):
        tokenizer = shipped(name)
        tokenizer.chat_template = with_defaults(tokenizer.chat_template, {"x": True})
        assert ChatTemplate(tokenizer, name).has_markers
