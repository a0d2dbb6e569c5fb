"""Which way of a measure is the better one, told by its name."""

from __future__ import annotations

LOWER_IS_BETTER = (
    "loss",
    "perplexity",
    "bits_per_byte",
    "brier_score",
    "edit_distance",
    "repetition",
    "hit_limit",
    "truncated",
    "mae",
    "rmse",
    "ter",
    "wer",
)
NEITHER_IS_BETTER = (
    "answer_chars",
    "answer_tokens",
    "answer_words",
    "completion_tokens",
    "copied",
    "distinct",
    "length",
    "mean_chars",
    "mean_tokens",
    "same_answer",
    "same_instead",
)


def direction(group: str, metric: str) -> int:
    """Return 1 if a higher value is better, -1 if a lower one is, 0 if neither is."""
    if group == "memorisation" or (group == "loss" and metric.startswith(("train.", "gap."))):
        return 0  # what a training does to its own rows says nothing by itself
    if group == "loss":
        return -1
    # `set.metric[filter]` -> `metric`
    name = metric.partition("[")[0].rpartition(".")[2].lower()
    if ".json_fields." in metric:
        return 1  # a field of the answers may have any name
    if any(_is_or_ends_with(name, word) for word in NEITHER_IS_BETTER):
        return 0
    return -1 if any(_is_or_ends_with(name, low) for low in LOWER_IS_BETTER) else 1


def _is_or_ends_with(name: str, word: str) -> bool:
    return name == word or name.endswith(f"_{word}") or name.startswith(f"{word}_")
