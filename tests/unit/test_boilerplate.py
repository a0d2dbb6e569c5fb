"""Refusals, openers and closers, placeholders, control tokens."""

import pytest
from steps_fixture import answers, run_step, talk

from sftflow.refusals import refusal_test, sentences
from sftflow.stage import StageError

REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but as an AI language model, I cannot provide medical advice.",
    "As an AI language model, I don't have personal opinions or feelings.",
    "I apologize. I cannot fulfill that request. Is there anything else I can help you with?",
    "I'm unable to help with that. It is illegal and unethical. Please consult a lawyer.",
    "Unfortunately, I cannot do that. However, I can help you with other topics.",
    "很抱歉，我无法提供该信息。",
    "作为一个人工智能语言模型，我没有个人观点。",
    "对不起，我不能回答这个问题。如果您有其他问题，请随时告诉我。",
    "申し訳ありませんが、お答えできません。",
    "Es tut mir leid, aber das kann ich leider nicht beantworten.",
]
NO_REFUSALS = [
    "I'm sorry to hear that you are ill. Drink much and rest.",
    "You can't divide by zero, so the limit does not exist.",
    "As an AI language model, I don't have favourites, but here are two:\n1. Go\n2. Chess",
    "I cannot recommend it. The battery lasts two hours and the screen is dim.",
    "Sorry, the shop is closed on Sundays.",
    "He said: \"I'm sorry, I can't come.\" Then he left.",
    "对不起的英文是 sorry。",
    "这个函数无法处理空列表，因为它没有元素。",
    "Transformers are language models. They cannot see pictures.",
]


def test_refusals_go_and_others_stay(tmp_path):
    pairs = [talk("q", text, row) for row, text in enumerate(REFUSALS + NO_REFUSALS)]
    _, gone, books = run_step(tmp_path, {"step": "refusals"}, pairs)
    assert [row for row, *_ in gone] == list(range(len(REFUSALS)))
    assert {reason for _, reason, *_ in gone} == {"refusal"}
    assert books.found["refusal"]["rows"] == len(REFUSALS)


def test_a_refusal_with_tools_at_hand_is_an_answer(tmp_path):
    pair = talk("q", REFUSALS[0], tools='[{"name":"convert"}]')
    assert len(run_step(tmp_path, {"step": "refusals"}, [pair])[0]) == 1


def test_refusals_can_be_reported_and_taught(tmp_path):
    step = {"step": "refusals", "action": "report", "phrases": ["computer says no"]}
    pairs = [talk("q", "Computer says no."), talk("q", "Well, computer says no.", 2)]
    kept, _, books = run_step(tmp_path, step, pairs)
    assert len(kept) == 2
    assert books.found["refusal"]["first"] == ["s f:1"]
    with pytest.raises(StageError, match="'\\(' is no regular expression"):
        refusal_test(["("])


def test_sentences():
    assert sentences("One. Two!\nThree 3.5 四。五") == ["One.", "Two!", "Three 3.5 四。", "五"]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Sure! The capital is Paris.", "The capital is Paris."),
        ("Certainly! Here is the list:\n1. a\n2. b", "1. a\n2. b"),
        ("Paris.\n\nI hope this helps! Let me know if you have any questions.", "Paris."),
        ("Use `sum`. Feel free to ask if anything is unclear.", "Use `sum`."),
        ("当然！以下是一个例子：\n水是液体。希望这对您有帮助！", "水是液体。"),
        ("水是液体。如果您还有其他问题，请随时告诉我。", "水是液体。"),
        ("Sure, the capital is Paris.", None),
        ("Surely! he said.", None),
        ("Great", None),
        ("Sure!", None),  # nothing would be left
        ("I hope this helps!", None),
        ("He wrote: Let me know the date of the exam, please, and I will come", None),
        ("Okay is spelt with an O. Certainly is an adverb.", None),
        ("Of course he came. Of course!", None),
        ("  indented\n  code", None),
    ],
)
def test_boilerplate(tmp_path, answer, wanted):
    (kept,), _, books = run_step(tmp_path, {"step": "boilerplate"}, [talk("q", answer)])
    assert answers([kept]) == [answer if wanted is None else wanted]
    assert books.changed == (wanted is not None)


def test_boilerplate_dropped_reported_and_taught(tmp_path):
    pairs = [talk("q", "Sure! Yes it is. I hope this helps."), talk("q", "Ahoy! Yes.", 2)]
    _, gone, _ = run_step(tmp_path, {"step": "boilerplate", "action": "drop"}, pairs)
    assert gone[0][:3] == (1, "boilerplate", "the answers have 1 closer, 1 opener")
    kept, _, books = run_step(tmp_path, {"step": "boilerplate", "action": "report"}, pairs)
    assert (kept, books.changed) == (pairs, 0)
    assert books.found["opener"]["rows"] == 1
    step = {"step": "boilerplate", "openers": ["ahoy!"], "closers": ["over and out[.]"]}
    kept, _, _ = run_step(tmp_path, step, [*pairs, talk("q", "No. Over and out.", 3)])
    assert answers(kept) == ["Yes it is.", "Yes.", "No."]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I am {{name}}, made by {{ author }}.", True),
        ("我是{{姓名}}。", True),
        ("Hi {% if x %}you{% endif %}", True),
        ("Use `{{ name }}` in Jinja:\n```\n{{ name }}\n```", False),
        ("\\frac{{a}}{{b}} and {{1, 2}, {3}} and {{{x}}}", False),
        ("{name} [Your Name]", False),
    ],
)
def test_placeholders(tmp_path, text, found):
    _, gone, books = run_step(tmp_path, {"step": "placeholders"}, [talk("q", text)])
    assert bool(gone) == found
    step = {"step": "placeholders", "action": "report", "forms": [r"\[Your Name\]"]}
    kept, _, books = run_step(tmp_path, step, [talk("q", text)])
    assert answers(kept) == [text]
    assert bool(books.found) == (found or "[Your Name]" in text)


TYPED = "say <|im_end|> and [INST] or </s>"


def test_control_tokens(tmp_path):
    pairs = [talk(TYPED, "no <|no token|> [inst] <S> a < b |> c", 1), talk("x", "<|eot_id|>", 2)]
    _, gone, _ = run_step(tmp_path, {"step": "control_tokens"}, pairs)
    assert [row for row, *_ in gone] == [1, 2]
    assert gone[0][2] == "the text holds </s> (1 times), <|im_end|> (1 times), [INST] (1 times)"
    kept, gone, books = run_step(tmp_path, {"step": "control_tokens", "action": "escape"}, pairs)
    assert kept[0]["messages"][0]["content"] == "say < |im_end|> and [ INST] or < /s>"
    assert answers(kept) == [answers(pairs)[0], "< |eot_id|>"]
    assert run_step(tmp_path, {"step": "control_tokens"}, kept)[0] == kept
    assert books.found["<|eot_id|>"] == {"rows": 1, "times": 1, "first": ["s f:2"]}
    kept, gone, _ = run_step(tmp_path, {"step": "control_tokens", "action": "remove"}, pairs)
    assert kept[0]["messages"][0]["content"] == "say  and  or"
    assert [row for row, *_ in gone] == [2]
    kept, _, books = run_step(tmp_path, {"step": "control_tokens", "action": "report"}, pairs)
    assert (kept, books.changed) == (pairs, 0)


def test_a_token_that_another_one_hides(tmp_path):
    step = {"step": "control_tokens", "action": "remove", "tokens": ["@@"]}
    kept, _, _ = run_step(tmp_path, step, [talk("a <|im_<|x1|>end|> b@@c", "fine <｜User｜>")])
    assert [m["content"] for m in kept[0]["messages"]] == ["a  bc", "fine"]


def test_the_kinds_that_are_counted_are_bounded(tmp_path):
    many = [talk("q", f"<|token_{row}|>", row) for row in range(300)]
    _, _, books = run_step(tmp_path, {"step": "control_tokens"}, many)
    assert len(books.found) == 201
    assert books.found["other"]["rows"] == 100
