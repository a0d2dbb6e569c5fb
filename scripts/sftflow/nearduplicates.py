"""The cleaning step that takes away rows which say nearly what an earlier row says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sftflow.cleaningstep import Record, Step
from sftflow.nearindex import NearIndex
from sftflow.places import Places
from sftflow.prompts import folded, key_of, normalized
from sftflow.spool import Spool
from sftflow.stage import StageError

CROWD = "compared_with_a_part"  # rows that met too many others to be compared with each


def near_duplicates(
    records: Iterator[Record],
    step: Step,
    threshold: float = 0.8,
    ngram: int = 3,
    num_perm: int = 128,
    compare: str = "conversation",
    ignore_system: bool = False,
) -> Iterator[Record]:
    """Keep records that resemble no kept record before them.

    Two resemble each other if the sets of ``ngram`` tokens of what is compared have a Jaccard
    similarity of ``threshold`` or more. Compared is all that user, assistant and tools say, or
    with ``compare`` "prompt" what the user says. A system prompt and the tools at hand, often
    long and shared, must be the same; ``ignore_system`` asks it of the tools alone.
    """
    if compare not in ("conversation", "prompt"):
        raise StageError(
            f"near_duplicates: compare is {compare!r}; expected conversation or prompt"
        )
    roles = ("user",) if compare == "prompt" else ("user", "assistant", "tool")
    step.packages.add("rensa")
    places = Places()
    with (
        Spool(step.folder) as spool,
        NearIndex(step.folder, threshold, ngram, num_perm) as index,
    ):
        for record in spool.fill(records):
            said = [m for m in record["messages"] if m["role"] in roles]
            index.add(compared_text(said), setting_key(record, ignore_system))
            places.add(record)
        leaders = zip(spool.read(), index.leaders(), strict=True)
        for number, (record, (leader, alike)) in enumerate(leaders):
            if leader == number:
                yield record
            else:
                said = f"nearly {places[leader]}: {alike:.1%} of their {ngram}-grams are shared"
                step.reject(record, "near_duplicate", said)
        if index.crowded:
            step.totals[CROWD] += index.crowded


def compared_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what messages say, for a comparison of tokens: without case and width."""
    return "\n".join(
        folded(f"{m['content']}\n{m['tool_calls']}" if m.get("tool_calls") else m["content"])
        for m in messages
    )


def setting_key(record: Mapping[str, Any], ignore_system: bool) -> int:
    """Return the key of the system prompts and tools under which a conversation is held."""
    system = [m["content"] for m in record["messages"] if m["role"] == "system"]
    said = [] if ignore_system else [normalized(text) for text in system]
    tools = record.get("tools") or ""
    return key_of(*said, tools) if said or tools else 0
