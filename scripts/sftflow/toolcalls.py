"""Tool calls and tool schemas of a row, brought to one JSON text each."""

from __future__ import annotations

from typing import Any

from sftflow.jsontext import Refused, parse
from sftflow.manifests import canonical_json


def calls_text(value: Any, turn: int) -> str | None:
    """Return a JSON list of {name, arguments}, or None for no call.

    ``value`` is one call or a list of them, as objects or as JSON text; OpenAI's
    {type, function: {...}} is opened, and arguments given as JSON text are parsed.
    """
    value = _parsed(value, "invalid_tool_call", turn)
    if value is None or value == []:
        return None
    calls = value if isinstance(value, list) else [value]
    return canonical_json([_call(call, turn) for call in calls])


def _call(call: Any, turn: int) -> dict[str, Any]:
    if isinstance(call, dict) and isinstance(call.get("function"), dict):
        call = call["function"]
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise Refused("invalid_tool_call", f"turn {turn}: a tool call has no name")
    arguments = call.get("arguments", call.get("parameters"))
    arguments = _parsed(arguments, "invalid_tool_call", turn)
    if arguments is not None and not isinstance(arguments, dict):
        raise Refused("invalid_tool_call", f"turn {turn}: the arguments are no JSON object")
    return {"name": call["name"], "arguments": arguments or {}}


def tools_text(value: Any) -> str | None:
    """Return the tool schemas of a row as a JSON list, or None for none."""
    value = _parsed(value, "invalid_tools", 0)
    if value is None or value == [] or value == {}:
        return None
    tools = value if isinstance(value, list) else [value]
    if not all(isinstance(tool, dict) and tool for tool in tools):
        raise Refused("invalid_tools", "'tools' is no list of objects")
    return canonical_json(tools)


def _parsed(value: Any, reason: str, turn: int) -> Any:
    """Return what JSON text says; other values and blank text (None) as they are.

    Parquet may hold what JSON has no word for: bytes, times, NaN.
    """
    if not isinstance(value, str):
        try:
            canonical_json(value)
        except (TypeError, ValueError) as error:
            place = f"turn {turn}: the call" if turn else "'tools'"
            raise Refused(reason, f"{place} can't be JSON: {error}") from None
        return value
    if not value.strip():
        return None
    try:
        return parse(value)
    except Refused as error:
        place = f"turn {turn}: " if turn else "'tools': "
        raise Refused(reason, f"{place}not JSON: {error.detail}") from None
