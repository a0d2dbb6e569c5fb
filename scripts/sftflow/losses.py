"""Token losses of a causal language model: windows over a text, batches, forward passes.

A sequence is token ids with labels of the same length; a label of -100 marks a token that
is only context. As everywhere in transformers, labels[i] is the token at i, predicted from
the tokens before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

IGNORED = -100
BATCH_TOKENS = 4096  # padding included
STRETCH = 128  # scored tokens whose losses are also summed by themselves
LOGIT_BYTES = 2**29  # of one batch in float32; a vocabulary of 150,000 needs 0.6 MB a token


@dataclass(frozen=True)
class Scored:
    """Token ids and, of the same length, what is scored."""

    input_ids: list[int]
    labels: list[int]


def windows(ids: Sequence[int], length: int, stride: int) -> list[Scored]:
    """Return windows of at most ``length`` tokens that score each token of a text but its first.

    A window begins ``stride`` tokens after the one before and scores what that one did not
    reach, so each token is scored once and, from the second window on, has at least
    ``length - stride`` tokens before it.
    """
    if not 0 < stride < length:
        raise ValueError(f"stride {stride} is not between 0 and the length {length}")
    found, scored = [], 1
    for start in range(0, len(ids), stride):
        end = min(start + length, len(ids))
        context = scored - start
        if end > scored:
            labels = [IGNORED] * context + list(ids[scored:end])
            found.append(Scored(list(ids[start:end]), labels))
        scored = max(scored, end)
        if end == len(ids):
            break
    return found


def batches(lengths: Sequence[int], vocab_size: int) -> Iterator[list[int]]:
    """Yield indices by falling length, so many at a time that a batch stays within bounds.

    The longest come first: whoever runs out of memory does so at once.
    """
    most = max(1, min(BATCH_TOKENS, LOGIT_BYTES // (4 * vocab_size)))
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > most:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


@dataclass(frozen=True)
class Score:
    """What a model makes of one sequence's scored tokens."""

    loss: float  # summed, nats
    likeliest: list[bool]  # per scored token: none is likelier after what stands before it
    stretches: list[float] = field(default_factory=list)  # the loss of each STRETCH scored tokens


def batch_scores(model: Any, sequences: Sequence[Scored], pad_id: int) -> list[Score]:
    """Return the score of each sequence, from one forward pass."""
    import torch

    longest = max(len(s.input_ids) for s in sequences)
    first = min(_first_scored(s) for s in sequences)

    def padded(rows: list[list[int]], value: int) -> Any:
        full = [row + [value] * (longest - len(row)) for row in rows]
        return torch.tensor(full, device=model.device)

    ids = padded([s.input_ids for s in sequences], pad_id)  # (batch, longest)
    mask = padded([[1] * len(s.input_ids) for s in sequences], 0)
    labels = padded([s.labels for s in sequences], IGNORED)
    with torch.inference_mode():
        # Position i predicts i + 1, so logits are needed from first - 1 on. A model class that
        # knows no logits_to_keep returns all of them; then the last ones are taken here.
        keep = longest - first + 1
        logits = model(
            input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=keep
        ).logits[:, -keep:-1]  # (batch, longest - first, vocabulary)
        wanted = labels[:, first:]
        scored = wanted != IGNORED
        losses = torch.zeros(wanted.shape, dtype=torch.float64, device=model.device)
        # In float64: a sure token's loss is a small difference of large numbers. With float32
        # here the mean of a fine-tuned model was off by 6e-6 of 0.089 nats.
        losses[scored] = torch.nn.functional.cross_entropy(
            logits[scored].double(), wanted[scored], reduction="none"
        )
        likeliest = (logits.argmax(dim=-1) == wanted).cpu()  # (batch, longest - first)
        totals, losses, scored = losses.sum(dim=1).tolist(), losses.cpu(), scored.cpu()
        return [
            Score(
                loss,
                likeliest[row][scored[row]].tolist(),
                [part.sum().item() for part in losses[row][scored[row]].split(STRETCH)],
            )
            for row, loss in enumerate(totals)
        ]


def _first_scored(sequence: Scored) -> int:
    """Return the index of the first label that is scored; the very first can't be."""
    return next(i for i, label in enumerate(sequence.labels) if i and label != IGNORED)


def scored_tokens(sequence: Scored) -> int:
    """Return how many tokens of a sequence have a loss."""
    return sum(label != IGNORED for label in sequence.labels[1:])
