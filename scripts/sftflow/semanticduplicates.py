"""The cleaning step that takes away rows which mean nearly what an earlier row means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sftflow.cleaningstep import Record, Step, one_of
from sftflow.embeddings import PACKAGES, Embedder, model_folder
from sftflow.nearduplicates import setting_key
from sftflow.places import Places
from sftflow.prompts import key_of, normalized
from sftflow.spool import Spool
from sftflow.vectorindex import VectorIndex

CUT = "embedded_in_pieces"  # questions and answers that are longer than the model reads


def semantic_duplicates(
    records: Iterator[Record],
    step: Step,
    model: str,
    revision: str | None = None,
    threshold: float = 0.95,
    compare: str = "conversation",
    short_answer_chars: int = 120,
    batch_size: int = 64,
    ignore_system: bool = False,
) -> Iterator[Record]:
    """Keep records that mean nearly what no kept record before them means (as SemDeDup does).

    Two resemble each other if the embeddings of what is compared have a cosine of ``threshold``
    or more (arXiv:2303.09540, with all pairs instead of clusters). Compared is what the user says,
    and, unless ``compare`` is "prompt", what assistant and tools say, each on its own: a long
    question must not hide that the answers differ. Answers of at most ``short_answer_chars`` must
    be equal: they are labels and numbers, which embeddings hardly tell apart. The system prompt
    and the tools at hand must be the same; ``ignore_system`` asks it of the tools alone.
    """
    one_of(step, "compare", compare, ("conversation", "prompt"))
    embed = Embedder(model_folder(model, revision), batch_size)
    step.packages.update(PACKAGES)
    step.facts["model_sha256"] = embed.sha256
    places = Places()
    with (
        Spool(step.folder) as spool,
        VectorIndex(step.folder, embed, threshold, embed.device) as index,
    ):
        for record in spool.fill(records):
            parts, same = [said_by(("user",), record["messages"])], ""
            if compare == "conversation":
                answers = said_by(("assistant", "tool"), record["messages"])
                if len(answers) > short_answer_chars:
                    parts.append(answers)
                else:
                    same = normalized(answers)
            index.add(parts, key_of(str(setting_key(record, ignore_system)), same))
            places.add(record)
        leaders = zip(spool.read(), index.leaders(), strict=True)
        for number, (record, (leader, alike)) in enumerate(leaders):
            if leader == number:
                yield record
            else:
                said = f"means nearly what {places[leader]} means: similarity {alike:.4f}"
                step.reject(record, "semantic_duplicate", said)
    if embed.cut:
        step.totals[CUT] += embed.cut


def said_by(roles: Sequence[str], messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what these roles say, as it stands: models tell case and punctuation apart."""
    return "\n".join(
        f"{m['content']}\n{m['tool_calls']}" if m.get("tool_calls") else m["content"]
        for m in messages
        if m["role"] in roles
    )
