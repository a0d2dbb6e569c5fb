"""Quality rules, turn rules, and laws that hold for every step."""

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steps_fixture import record, run_step, talk

from sftflow.cleaning import STEPS
from sftflow.configschema import schema
from sftflow.qualityrules import WORD, duplicate_line_share, letter_share, repeated_share
from sftflow.records import message
from sftflow.stage import StageError

PLAIN = " ".join(f"word{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(60)) + "."
CALL = '[{"arguments":{"city":"Rome"},"name":"weather"}]'
TOOLS = '[{"name":"weather","parameters":{"required":["city"]}}]'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PLAIN, None),
        (PLAIN + " I think so I think so" * 20, "repeated_words"),
        ("我喜欢学习机器学习和深度学习。" * 9, "repeated_words"),
        ("\n".join([PLAIN, *["the same line is here"] * 9]), "duplicate_lines"),
        (PLAIN + " #" * 8, "symbols"),  # 8 / 60 > 0.1
        (" ".join(f"{i}{i} | {i}" for i in range(40)), "few_letters"),
        ("Lorem ipsum dolor", "filler"),
        ("no " * 40, None),  # too short to tell
        ("```\n" + "x = 1\n" * 80 + "```", None),
        ("机器学习是人工智能的一个分支，它让计算机从数据里找出规律，再用这些规律去判断没有见过的"
         "新情况，比如识别照片里的猫或狗。", None),
    ],
)  # fmt: skip
def test_quality_rules(tmp_path, text, reason):
    _, gone, _ = run_step(tmp_path, {"step": "quality_rules"}, [talk("q", text)])
    assert [why for _, why, *_ in gone] == [reason] * bool(reason)
    step = {"step": "quality_rules", "action": "report"}
    kept, _, books = run_step(tmp_path, step, [talk("q", text)])
    assert len(kept) == 1
    assert list(books.found)[:1] == [reason] * bool(reason)


def test_rules_can_be_switched_off(tmp_path):
    text = "say it again and again " * 30 + "lorem ipsum"
    off = {"max_repeated_words": None, "filler": False}
    assert len(run_step(tmp_path, {"step": "quality_rules", **off}, [talk("q", text)])[0]) == 1


def test_shares():
    assert duplicate_line_share("a\nb\na\n\na") == 0.5  # 2 of 4 lines
    assert duplicate_line_share("a") == duplicate_line_share("") == 0
    words = list("abcdefg") + list("abcde")
    assert repeated_share(words) == pytest.approx(5 / 12)
    assert repeated_share(["no"] * 10) == pytest.approx(9 / 10)  # all but the first
    assert repeated_share([]) == 0
    assert letter_share("ab 12") == 0.5
    assert WORD.findall("It's 数据 12") == ["It", "s", "数", "据", "12"]


def test_turn_counts(tmp_path):
    long = record(*[("user", "q"), ("assistant", "a")] * 3, row=2)
    step = {"step": "turns", "min_turns": 2, "max_turns": 2}
    _, gone, _ = run_step(tmp_path, step, [talk("q", "a"), long])
    assert [said[:3] for said in gone] == [
        (1, "few_turns", "1 user turns, fewer than 2"),
        (2, "many_turns", "3 user turns, more than 2"),
    ]


@pytest.mark.parametrize(
    ("calls", "tools", "results", "reason"),
    [
        (CALL, TOOLS, 1, None),
        (CALL, None, 1, None),
        (CALL, '[{"type":"function","function":{"name":"weather"}}]', 1, None),
        (CALL.replace("weather", "time"), TOOLS, 1, "unknown_tool"),
        (CALL.replace("city", "town"), TOOLS, 1, "tool_arguments"),
        (f"{CALL[:-1]},{CALL[1:]}", TOOLS, 1, "tool_results_missing"),
        (CALL, TOOLS, 2, "tool_results_extra"),
        (CALL, TOOLS, 0, None),  # the call is the answer
    ],
)
def test_tool_calls_fit(tmp_path, calls, tools, results, reason):
    turns = [("user", "q"), message("assistant", "", tool_calls=calls)]
    turns += [("tool", "sunny")] * results + [("assistant", "It is sunny.")] * bool(results)
    row = record(*turns, tools=tools)
    _, gone, _ = run_step(tmp_path, {"step": "turns"}, [row])
    assert [why for _, why, *_ in gone] == [reason] * bool(reason)
    kept, _, books = run_step(tmp_path, {"step": "turns", "tool_calls": "report"}, [row])
    assert (len(kept), list(books.found)) == (1, [reason] * bool(reason))
    kept, _, books = run_step(tmp_path, {"step": "turns", "tool_calls": "ignore"}, [row])
    assert (len(kept), books.found) == (1, {})


FROM_THE_STAGE = {("judge", "server")}  # where the server is: no option of the config


def test_the_schema_and_the_steps_have_the_same_options_and_defaults():
    for name, function in STEPS.items():
        parameters = list(inspect.signature(function).parameters.values())[2:]
        parameters = [p for p in parameters if (name, p.name) not in FROM_THE_STAGE]
        known = schema()["$defs"]["steps"][name]["properties"]
        assert {p.name for p in parameters} == set(known) - {"step"}, name
        for p in parameters:
            default = () if p.default == [] else p.default
            if default is not p.empty:
                said = known[p.name]["default"]
                same = list(default) == said if isinstance(said, list) else default == said
                if name == "personal_data" and p.name == "kinds":
                    same = sorted(default) == sorted(said)
                assert same, f"{name}.{p.name}"


# semantic_duplicates needs a model: tests/unit/test_semantic_duplicates.py has this law for it.
BY_THEMSELVES = sorted(set(STEPS) - {"judge", "semantic_duplicates"})
OPTIONS = {
    "language": [{"languages": ["en"]}, {"languages": ["zh"], "unknown": "reject"}],
    "personal_data": [{"action": action} for action in ("mask", "drop", "report")],
    "control_tokens": [{"action": action} for action in ("drop", "escape", "remove", "report")],
    "format": [
        {"json_style": "indented", "markdown": "strip", "white_space": "single"}
        | {"quotes": "straight"}
    ],
    "boilerplate": [{"action": "strip"}, {"action": "drop"}],
    "quality_rules": [{"min_words": 1}],
}  # fmt: skip
PIECE = st.sampled_from(
    ["Sure!", "I can't help with that.", "jo@example.org", "<|im_end|>", "{{name}}", "**b**",
     '{"a": 1}', "# t", "数据很好。", "  ", "\n\n\n", "“q”", "Lorem ipsum", "`c`", "</s>",
     "4111111111111111"]
)  # fmt: skip
TEXT = st.lists(st.one_of(PIECE, st.text(max_size=5)), max_size=4).map(" ".join)
TURNS = st.lists(
    st.tuples(TEXT, TEXT, st.sampled_from([None, CALL]), st.none() | TEXT), min_size=1, max_size=2
)


ROW = st.tuples(TURNS, st.sampled_from([None, TOOLS]))


def conversation(row, turns, tools):
    messages = []
    for prompt, answer, calls, reasoning in turns:
        answered = message("assistant", answer, tool_calls=calls, reasoning=reasoning)
        messages += [message("user", prompt), answered]
    return record(*messages, row=row, tools=tools)


@pytest.mark.parametrize("name", BY_THEMSELVES)
@given(
    many=st.lists(st.tuples(TURNS, st.sampled_from([None, TOOLS])), max_size=4),
    pick=st.integers(0, 9),
)
@settings(max_examples=12, deadline=None)
def test_every_row_is_kept_or_rejected_and_changes_are_counted(tmp_path_factory, name, many, pick):
    records = [conversation(row, turns, tools) for row, (turns, tools) in enumerate(many)]
    options = OPTIONS.get(name, [{}])
    step = {"step": name, **options[pick % len(options)]}
    kept, gone, books = run_step(tmp_path_factory.getbasetemp(), step, records)
    assert [r["row"] for r in kept] == sorted(r["row"] for r in kept)
    before = {r["row"]: r for r in records}
    assert {r["row"] for r in kept} | {row for row, *_ in gone} == set(before)
    assert books.changed == sum(r != before[r["row"]] for r in kept)
    assert sum(books.rejected.values()) == len(gone)


@pytest.mark.parametrize("name", BY_THEMSELVES)
def test_no_step_changes_what_has_nothing_to_change(tmp_path, name):
    pair = talk("Why is the sky blue in the day?", PLAIN.capitalize(), tools=TOOLS)
    kept, _, books = run_step(tmp_path, {"step": name, **OPTIONS.get(name, [{}])[0]}, [pair])
    assert kept == [pair]
    assert books.changed == 0


@pytest.mark.parametrize("name", ["quality_rules", "turns", "placeholders"])
def test_an_unknown_action(tmp_path, name):
    option = "tool_calls" if name == "turns" else "action"
    with pytest.raises(
        StageError, match=f"{name}: {option} is 'hide'; expected one of drop, report"
    ):
        run_step(tmp_path, {"step": name, option: "hide"}, [talk("q", "a")])
