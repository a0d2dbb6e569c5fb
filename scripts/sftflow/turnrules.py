"""How long a conversation may be, and whether its tool calls fit its tools and results.

The order of roles, blank turns and a tail without an answer are settled at ingestion (turns.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from sftflow.cleaningstep import Record, Records, Step, one_of

ACTIONS = ("drop", "report", "ignore")


def turns(
    records: Records,
    step: Step,
    min_turns: int = 1,
    max_turns: int | None = None,
    tool_calls: str = "drop",
) -> Records:
    """Keep conversations of ``min_turns`` to ``max_turns`` user turns whose tool calls fit.

    Calls fit if each names one of the row's tools (where it has any), gives the arguments that
    the tool requires, and has as many results as calls; calls in the last turn have none.
    """
    one_of(step, "tool_calls", tool_calls, ACTIONS)
    for record in records:
        asked = sum(m["role"] == "user" for m in record["messages"])
        faults = [] if tool_calls == "ignore" else list(call_faults(record))
        if asked < min_turns:
            step.reject(record, "few_turns", f"{asked} user turns, fewer than {min_turns}")
        elif max_turns is not None and asked > max_turns:
            step.reject(record, "many_turns", f"{asked} user turns, more than {max_turns}")
        elif faults:
            reason, detail = faults[0]
            step.note(record, {reason: len(faults)})
            if tool_calls == "drop":
                step.reject(record, reason, detail)
            else:
                yield record
        else:
            yield record


def call_faults(record: Record) -> Iterator[tuple[str, str]]:
    """Yield (reason, sentence) for calls that do not fit the row's tools or their results."""
    tools = _tools(record["tools"])
    messages = record["messages"]
    for number, message in enumerate(messages, 1):
        calls = json.loads(message["tool_calls"]) if message["tool_calls"] else []
        for call in calls if tools else ():
            yield from _unfit(call, tools, number)
        results = 0
        for after in messages[number:]:
            if after["role"] != "tool":
                break
            results += 1
        if calls and 0 < results != len(calls):
            reason = "tool_results_missing" if results < len(calls) else "tool_results_extra"
            yield reason, f"turn {number}: {len(calls)} tool calls, {results} results"


def _tools(text: str | None) -> dict[str, set[str]]:
    """Return the arguments that each tool requires."""
    required = {}
    for tool in json.loads(text) if text else []:
        function = tool.get("function", tool)
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            parameters = function.get("parameters")
            names = parameters.get("required") if isinstance(parameters, dict) else None
            names = names if isinstance(names, list) else []
            required[function["name"]] = {n for n in names if isinstance(n, str)}
    return required


def _unfit(call: dict, tools: dict[str, set[str]], turn: int) -> Iterator[tuple[str, str]]:
    name, given = call["name"], call["arguments"]
    if name not in tools:
        yield "unknown_tool", f"turn {turn}: calls {name!r:.60}, which is not among the row's tools"
    elif missing := sorted(tools[name] - set(given)):
        yield "tool_arguments", f"turn {turn}: calls {name!r:.60} without {', '.join(missing):.80}"
