import pytest

from sftflow.formats import conversation
from sftflow.jsontext import Refused
from sftflow.reasoningtags import with_reasoning
from sftflow.records import message


def parted(content, tags=("think", "reasoning"), **more):
    (one,) = with_reasoning([message("assistant", content, **more)], tags)
    return one["reasoning"], one["content"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", ("Hm.", "Yes.")),
        ("Hm.\n</think>\nYes.", ("Hm.", "Yes.")),  # the prompt has opened it (DeepSeek-R1)
        ("<think></think>Yes.", (None, "Yes.")),
        ("<reasoning>a <think> b</reasoning>Yes.", ("a <think> b", "Yes.")),
        ("<think>嗯。</think>好。", ("嗯。", "好。")),
        ("Write <think> in front.", (None, "Write <think> in front.")),
        ("Yes.", (None, "Yes.")),
    ],
)
def test_thinking_goes_into_its_own_field(content, found):
    assert parted(content) == found


def test_nothing_is_taken_unless_asked_for():
    said = "<think>Hm.</think>Yes."
    assert parted(said, tags=()) == (None, said)
    (asked,) = with_reasoning([message("user", said)], ["think"])
    assert asked["content"] == said


def test_what_can_not_be_parted_is_refused():
    with pytest.raises(Refused, match="turn 1: <think> is not closed"):
        parted("<think>Hm.")
    with pytest.raises(Refused, match="in tags and in a field"):
        parted("<think>Hm.</think>Yes.", reasoning="Ah.")


def test_a_row_that_only_thinks_is_a_blank_answer():
    row = {"prompt": "2+2?", "completion": "<think>4</think> "}
    spec = {"format": "auto", "columns": None, "system": None, "consecutive": "quarantine"}
    with pytest.raises(Refused, match="the assistant text is blank"):
        conversation(row, {**spec, "reasoning_tags": ["think"]})
    assert conversation(row, spec).messages[1]["reasoning"] is None
