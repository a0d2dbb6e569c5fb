"""A chat template is somebody's program: whatever it does, it ends, and with a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chat_fixture import CHATML, chat_tokenizer, record, turn

import template_data
from sftflow import templatelimits
from sftflow.chat_templates import ChatTemplate
from sftflow.processortime import TooSlow, processor_time
from sftflow.stage import StageError
from sftflow.templatelimits import check_template, operators

LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
# Doubles a text forty times: a tebibyte.
GROWING = (
    "{% set ns = namespace(x='0123456789') %}"
    "{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"
)


def checked(template):
    tokenizer = chat_tokenizer(template)
    check_template(template, lambda: ChatTemplate(tokenizer, "bases.x"), "bases.x")


@pytest.fixture
def short(monkeypatch):
    """Let a template have one second, the least that a process can be given."""
    monkeypatch.setattr(templatelimits, "PROBE_S", 1)
    monkeypatch.setattr(templatelimits, "MEMORY_BYTES", 256 << 20)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (LOOP, "bases.x: the chat template did not end within 1 s"),
        (GROWING, "bases.x: the chat template takes more than "),
        ("{{ 9**9**9 }}", "bases.x: the chat template calculates a power"),
        ("{{ 'x' * 999999999999 }}", "takes more than"),
        ("{{ '%999999999999d' | format(1) }}", "takes more than"),
    ],
)
def test_a_template_that_does_not_end(more, sentence):
    with pytest.raises(StageError, match=sentence):
        checked(CHATML + more)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("more", ["", "{# 2**3 #}", "**bold**", "{{ raise_exception('no') }}"])
def test_others_are_left_to_who_renders_them_next(more):
    checked(CHATML + more)


def test_an_expression_in_c_is_stopped_as_well(monkeypatch):
    """No signal handler of Python runs while it calculates."""
    monkeypatch.setattr(templatelimits, "PROBE_S", 1)
    start_s = time.monotonic()
    with pytest.raises(StageError, match="did not end"):
        check_template("", lambda: 9**9**9, "bases.x")
    assert time.monotonic() - start_s < 30


def test_bounds_of_the_machine_are_kept():
    """Where the limit of a cluster is lower, the child must not fail to set its own."""
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_AS, (1 << 30, 1 << 30)); "
        "from sftflow.templatelimits import check_template; "
        "check_template('', lambda: bytearray(2 << 30), 'bases.x')"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(templatelimits.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert "bases.x: the chat template takes more than 1 GiB" in done.stderr


def test_operators_of_expressions_only():
    assert "**" in operators("{% if 2 ** 3 %}x{% endif %}")
    assert "**" not in operators("**{{ 'a**b' }}** {# ** #}{% generation %}{% endgeneration %}")


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ messages.append(1) }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_the_sandbox_is_on(escape):
    """Rendered by transformers; a later version without its sandbox would be seen here."""
    said = escape.replace("10**9", "1000000000")
    tokenizer = chat_tokenizer(said)
    with pytest.raises(Exception) as caught:
        text = tokenizer.apply_chat_template([turn("user", "x")], tokenize=False)
        assert text.strip(), "an undefined value is no way out"
        raise AssertionError(text)
    assert not isinstance(caught.value, AssertionError) or "no way out" in str(caught.value)


def test_a_block_has_its_processor_time_and_no_more():
    with pytest.raises(TooSlow), processor_time(0.05):
        while True:
            pass
    with processor_time(0.05):
        time.sleep(0.2)  # the clock is not asked
    for _ in range(10**6):  # nothing is left that would strike later
        pass


def test_a_row_that_hangs_a_template_is_named(monkeypatch):
    """The template is harmless until a text asks for it: no probe could have known."""
    monkeypatch.setattr(template_data, "ROW_S", 0.2)
    template = CHATML + "{% if 'hang' in messages[0].content %}" + LOOP + "{% endif %}"
    spec = {"max_length": 99, "overlong": "drop", "train_on": "all"}
    work = template_data.Templated(ChatTemplate(chat_tokenizer(template), "tiny"), spec, "train")
    rows = [
        record(turn("user", text), turn("assistant", "ok"), row=number)
        for number, text in enumerate(["fine", "please hang"], 1)
    ]
    with pytest.raises(StageError, match="s, row 2: the chat template of tiny did not end within"):
        list(work.samples(rows, 2))
