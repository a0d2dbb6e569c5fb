"""The pre-training text: deterministic, and without the format that fine-tuning teaches."""

import json
import random
import re
from itertools import islice

from sftflow.toytext import chat, chatml, documents, heldout_lines


def test_same_seed_same_text():
    assert list(islice(documents(4), 50)) == list(islice(documents(4), 50))
    assert list(islice(documents(4), 50)) != list(islice(documents(5), 50))


def test_plain_text_has_no_control_tokens():
    assert not any("<|" in text for text in islice(documents(4, plain=True), 500))
    assert any("<|im_end|>" in text for text in islice(documents(4), 50))


def test_no_document_shows_the_answer_format():
    for text in islice(documents(9), 3000):
        assert not re.search(r'"(intent|product|urgency)"', text)
        for answer in re.findall(r"<\|im_start\|>assistant\n(.*?)<\|im_end\|>", text, re.S):
            assert "{" not in answer
        if text.startswith("{"):
            assert not {"intent", "product", "urgency"} & set(json.loads(text))


def test_chatml_is_what_the_template_renders():
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert chatml(messages) == (
        "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
    )
    assert [m["role"] for m in chat(random.Random(1))] == ["user", "assistant"]


def test_held_out_lines_are_stories_of_one_line():
    lines = heldout_lines(3, 20)
    assert len(lines) == 20
    assert all(line and "\n" not in line for line in lines)
