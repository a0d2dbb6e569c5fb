"""Each guard fires on a planted case and is quiet on a good one."""

from dataclasses import replace

import pytest
from chat_fixture import CHATML, chat_tokenizer, real, record, shipped, turn
from test_template_data import FOUR, PAIR, templated, trained_texts
from tokenizers.processors import TemplateProcessing

from sftflow.chat_templates import ChatTemplate, Refused
from sftflow.stage import StageError
from sftflow.templatedrows import parts_of, samples_of
from sftflow.templateguards import check_served, worth_a_look

SYSTEM = record(turn("system", "Be brief."), *PAIR)
TWICE = "{% if messages[0].role == 'system' %}{{ bos_token }}{% endif %}{{ bos_token }}" + CHATML


def made(tokenizer, row):
    template = ChatTemplate(tokenizer, "m")
    parts = parts_of(template, row, "all", "train")
    return template, samples_of(template, parts), parts


def test_two_bos_tokens_in_some_rows_only():
    samples, work = templated(chat_tokenizer(TWICE), SYSTEM, record(*PAIR))
    assert len(samples) == 1
    assert work.reasons == {"double_bos": 1}


def test_a_bos_that_the_template_leaves_out_is_told():
    tokenizer = chat_tokenizer(CHATML)
    assert ChatTemplate(tokenizer, "m").notes == []  # the tokenizer puts none, either
    bos = [("<|bos|>", tokenizer.bos_token_id)]
    both = TemplateProcessing(single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=bos)
    tokenizer.backend_tokenizer.post_processor = both
    (note,) = ChatTemplate(tokenizer, "m").notes
    assert "begins texts with <|bos|>, the chat template doesn't" in note
    tokenizer.chat_template = "{{ bos_token }}" + CHATML
    assert ChatTemplate(tokenizer, "m").notes == []


def test_another_prompt_than_apply_chat_template_gives():
    template, samples, parts = made(chat_tokenizer(CHATML), record(*FOUR))
    check_served(template, samples, parts)
    for at in (0, samples[0].starts[1] - 1):
        ids = [*samples[0].ids]
        ids[at] += 1
        with pytest.raises(StageError, match=r"row id1: the \d+ tokens before message [13] are no"):
            check_served(template, [replace(samples[0], ids=ids)], parts)


@pytest.mark.parametrize("change", ["replace('\\n', ' ')", "truncate(9)"])
def test_a_template_that_changes_what_is_said(change):
    tokenizer = chat_tokenizer(CHATML.replace("m.content", f"m.content | {change}"))
    long = record(turn("user", "Why?"), turn("assistant", "Two lines:\nthe Second."), row=2)
    samples, work = templated(tokenizer, record(turn("user", "q"), turn("assistant", "a")), long)
    assert len(samples) == 1
    assert work.reasons == {"text_dropped": 1}


def test_white_space_that_a_template_strips_is_no_fault():
    tokenizer = real("gemma2")
    (sample,), _ = templated(tokenizer, record(PAIR[0], turn("assistant", "\n A thing. \n")))
    assert trained_texts(tokenizer, sample) == ["A thing.<end_of_turn>"]


def test_markers_in_the_wrong_place_are_left_aside():
    """What stands in a {% set %} block is marked where the block was, not where it is shown."""
    said = "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    said = (
        "{% if m.role == 'assistant' %}" + said + "{% else %}{{ m.content }}<|im_end|>{% endif %}"
    )
    text = CHATML.replace("{{ m.content }}<|im_end|>", "{{ said }}")
    text = text.replace("<|im_start|>", "{% set said %}" + said + "{% endset %}<|im_start|>", 1)
    template = ChatTemplate(chat_tokenizer(text), "m")
    assert not template.has_markers
    assert "markers of the chat template are not around" in template.notes[0]
    talk = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    rendered = template.rendered(talk, None, [1])
    assert [rendered.text[slice(*span)] for span in rendered.spans] == ["a<|im_end|>"]


def test_thinking_that_no_template_writes_is_told():
    row = record(PAIR[0], turn("assistant", "A thing.", reasoning="Hm."))
    _, work = templated(shipped("llama3"), row, record(*PAIR))
    assert work.summary()["reasoning_left_out"] == 1
    (told,) = worth_a_look("train", work.summary())
    assert told.startswith("train: 1 rows have thinking that the chat template leaves out")
    for asked in ({"reasoning": "drop"}, {}):
        tokenizer = shipped("llama3" if asked else "chatml")
        _, work = templated(tokenizer, row, **asked)
        assert "reasoning_left_out" not in work.summary()


def test_many_lost_rows_are_told():
    rows = [record(*PAIR, row=row) for row in range(8)]
    _, work = templated(real("gemma2"), *rows, SYSTEM)
    (told,) = worth_a_look("train", work.summary())  # 1 of 9
    assert told.startswith("train: 1 of 9 rows leave no sample, most of them for template_refused")
    _, work = templated(real("gemma2"), *rows, *rows, SYSTEM)
    assert worth_a_look("train", work.summary()) == []


def test_ends_of_turns_that_are_cut_off_are_told():
    tokenizer = shipped("chatml")
    long = record(PAIR[0], turn("assistant", "and so on " * 40))
    _, work = templated(tokenizer, long, *[record(*PAIR)] * 8, max_length=60, overlong="truncate")
    (told,) = worth_a_look("train", work.summary())  # 1 of 9
    assert told.startswith("train: 1 of 9 turns with loss are cut at max_length before their end")
    _, work = templated(tokenizer, long, *[record(*PAIR)] * 9, max_length=60, overlong="truncate")
    assert worth_a_look("train", work.summary()) == []  # 1 of 10
    _, work = templated(tokenizer, long, *[record(*PAIR)] * 8, max_length=60)
    assert not any("cut at max_length" in one for one in worth_a_look("train", work.summary()))


def test_thinking_behind_a_prompt_without_is_refused_with_a_hint():
    from sftflow.templatedefaults import with_defaults

    off = with_defaults(real("qwen3").chat_template, {"enable_thinking": False})
    row = record(PAIR[0], turn("assistant", "A thing.", reasoning="Hm."))
    with pytest.raises(Refused, match="set reasoning: drop"):
        made(chat_tokenizer(off), row)
    samples, _ = templated(chat_tokenizer(off), row, reasoning="drop")
    assert trained_texts(chat_tokenizer(off), samples[0]) == ["A thing.<|im_end|>"]


def test_of_a_row_parted_by_turn_what_fits_is_kept():
    """Rows are counted once: kept if any of their turns is, rejected if none."""
    tokenizer = chat_tokenizer(real("qwen3").chat_template)
    grown = record(*PAIR, turn("user", "and " * 40), turn("assistant", "Yes."))
    samples, work = templated(tokenizer, grown, max_length=50)
    assert [sample["id"] for sample in samples] == ["id1-1"]
    assert "train: 1 rows are a sample per turn" in worth_a_look("train", work.summary())[0]
    assert (work.counts["overlong"], work.reasons) == (1, {})
    samples, work = templated(tokenizer, grown, max_length=8)
    assert (samples, work.reasons) == ([], {"overlong": 1})


def test_a_turn_without_its_end():
    """This template ends calls of tools with nothing."""
    ending = "{% if not m.tool_calls %}<|im_end|>{% else %}{{ m.tool_calls }}{% endif %}"
    tokenizer = chat_tokenizer(CHATML.replace("}}<|im_end|>", "}}" + ending))
    calls = '[{"name": "f", "arguments": {}}]'
    row = record(PAIR[0], turn("assistant", "", tool_calls=calls))
    _, work = templated(tokenizer, row, record(*PAIR))
    assert work.reasons == {"no_end_of_turn": 1}


def test_an_answer_that_can_not_be_parted_from_its_prompt():
    """NFC joins the prompt's last letter with an accent that the answer begins with."""
    text = CHATML.replace("{{ m.role }}\n", "{{ m.role }}: e").replace(
        "assistant\n", "assistant: e"
    )
    accent = record(PAIR[0], turn("assistant", "\u0301 la carte"))
    samples, work = templated(chat_tokenizer(text), accent, record(*PAIR))
    assert len(samples) == 1
    assert work.reasons == {"token_over_edge": 1}
