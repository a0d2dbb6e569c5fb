"""What a model says after given tokens, greedily: batches, padding on the left, a KV cache.

For answers in the middle of a training; whoever measures a finished model asks a server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

# Plain greedy decoding, whatever the model's generation_config.json asks for: some come with a
# repetition penalty.
GREEDY = {
    "do_sample": False,
    "num_beams": 1,
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": None,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "use_cache": True,
}


@dataclass(frozen=True)
class Continuation:
    """The tokens that a model added, without the one that ended it, if one did."""

    ids: list[int]
    ended: bool


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Let a model say something in the middle of a training, which then goes on as if it had not.

    Dropout is off, and random numbers are drawn from where they were drawn before.
    """
    training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    model.eval()
    with torch.random.fork_rng(devices):
        yield
    model.train(training)


def continuations(
    model: Any,
    prompts: Sequence[Sequence[int]],
    ends: Collection[int],
    max_new_tokens: int,
    pad: int,
    batch_size: int,
) -> list[Continuation]:
    """Return what the model adds to each prompt, prompts of like length in a batch.

    With vectors before the prompt each goes alone: PEFT counts positions through padding.
    """
    config = getattr(model, "active_peft_config", None)
    size = 1 if config is not None and config.is_prompt_learning else batch_size
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    found: dict[int, Continuation] = {}
    with undisturbed(model):
        for at in range(0, len(order), size):
            batch = sorted(order[at : at + size])
            news = _generated(model, [prompts[i] for i in batch], ends, max_new_tokens, pad)
            found |= {i: _until_end(new, ends) for i, new in zip(batch, news, strict=True)}
    return [found[i] for i in range(len(prompts))]


def _generated(
    model: Any, prompts: Sequence[Sequence[int]], ends: Collection[int], most: int, pad: int
) -> list[list[int]]:
    """Return the tokens that a batch is given, padding behind the first that ends it."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts])  # (batch, longest)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    with torch.no_grad():
        out = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=most,
            eos_token_id=sorted(ends),
            pad_token_id=pad,
            **GREEDY,
        )
    return out[:, longest:].tolist()


def _until_end(new: list[int], ends: Collection[int]) -> Continuation:
    stop = next((at for at, token in enumerate(new) if token in ends), None)
    return Continuation(new if stop is None else new[:stop], stop is not None)
