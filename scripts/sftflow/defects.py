"""What is wrong with a tuned model, told by its measures whether or not the config has gates.

Each check looks for the trace of a known fault of fine-tuning: an end of turn that was not
learned, answers that go round in circles, that are all the same or that copy the prompt, another
template in the server than in training, nothing learned, general ability that is gone, and
benchmark questions among the training rows. A
defect names a gate that would have stopped the model; the gate ``no known fault`` stops them all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sftflow.comparison import Comparison
from sftflow.effect import NO_EFFECT
from sftflow.figures import figure
from sftflow.seenquestions import most_seen

#: Below this share of answers that end by themselves, a model is said not to stop.
LEAST_ENDED = 0.9
#: Above this share of 4-grams that were said before in the same answer, it goes round in circles.
MOST_REPEATED = 0.5
#: Above this share of answers that are one and the same though they should be others, a model says
#: it whatever it is asked.
MOST_SAME = 0.9
#: Above this share of an answer's 4-grams that stand in the prompt only, it copies the prompt.
MOST_COPIED = 0.5
#: A start model that is right so often leaves little to learn.
ABLE_BEFORE = 0.9
#: By how much (share of answers) a model may answer worse when served than as it was trained.
MOST_LOST_SERVED = 0.3
#: A loss that fell below this share of the start model's was learned from; from a probability of
#: 1 in 4 per token to 1 in 2.
LEARNED = 0.5
#: A rise of the loss on general text by this many nats per token: a perplexity 10 % higher.
FORGOTTEN = math.log(1.1)
#: Standard errors by which a share must be beyond its limit.
ERRORS = 2.0
#: Fewer answers than this say nothing.
FEWEST = 5
#: Measures that are named one by one.
MOST_NAMED = 3

NOTHING = "learned nothing"
#: What a defect may be called.
NAMES = (
    "trained on its test",
    *("does not end", "repeats itself", "copies the prompt", "always says the same"),
    *("served otherwise than trained", NOTHING, "forgot"),
)

#: Scores that say whether an answer is right, of 0 to 1.
RIGHT = (
    *("exact_match", "normalized_match", "accuracy", "word_f1", "numeric_answer"),
    *("json_valid", "json_fields", "rougeL"),
)
WORD_FOR_WORD = RIGHT[:5]


@dataclass(frozen=True)
class Defect:
    """A fault, the figures that show it, and the rule of a gate that asks for it."""

    name: str
    text: str
    gate: str
    measures: tuple[tuple[str, str], ...]  # group and metric of those that it names


def defects(compared: Sequence[Comparison], model: Mapping[str, Any]) -> list[Defect]:
    """Return what is wrong with a model, gravest first.

    ``compared`` are its measures beside those of its start model; of ``model`` is read ``dataset``,
    the one that it was trained on, ``preferences``, true if that has pairs, and ``questions``, as
    in seenquestions.py.
    """
    known = [c for c in compared if c.tuned is not None and c.tuned.value is not None]
    found = [said] if (said := _trained_on_test(model)) else []
    for check in (_does_not_end, _repeats, _copies):
        found += [said for c in known if (said := check(c)) is not None]
    found += [said for c in known if (said := _says_the_same(compared, c)) is not None]
    if (dataset := model.get("dataset")) is not None:
        checks = (_served_otherwise, _learned_unseen)
        if not model.get("preferences"):  # DPO may make both answers of a pair less likely
            checks += (_learned_nothing,)
        found += [said for check in checks if (said := check(known, dataset)) is not None][:1]
    for forgot in (_forgot_text, _forgot_tasks):
        found += [said] if (said := forgot(known)) else []
    return found


def _trained_on_test(model: Mapping[str, Any]) -> Defect | None:
    if (seen := most_seen(model.get("questions") or {})) is None:
        return None
    task, found, questions = seen
    return Defect(
        "trained on its test",
        f"It was trained on its test: {found:,} of the {questions:,} questions of {task} stand in "
        f"its training rows (datasets/{model['dataset']}/contamination.json has them). Its scores "
        "there say little; decontaminate.action: drop leaves these rows out.",
        "no known fault",
        (tuple(task.split("/", 1)),),
    )


def _names(*compared: Comparison) -> tuple[tuple[str, str], ...]:
    return tuple((c.group, c.metric) for c in compared)


def _score(c: Comparison, name: str) -> bool:
    """Say whether a measure is this score of some set, of enough answers."""
    rows = c.tuned.n or 0
    return c.group == "scores" and c.metric.endswith(f".{name}") and rows >= FEWEST


def _beyond(c: Comparison, limit: float, way: int) -> bool:
    """Say whether a share is surely above (way 1) or below (way -1) a limit."""
    return way * (c.tuned.value - limit) > ERRORS * (c.tuned.stderr or 0.0)


def _does_not_end(c: Comparison) -> Defect | None:
    if not _score(c, "ended") or not _beyond(c, LEAST_ENDED, -1):
        return None
    name, share = c.metric.rpartition(".")[0], c.tuned.value
    how = "Answers don't end" if share < 0.5 else "Not all answers end"
    return Defect(
        "does not end",
        f"{how}: {share:.0%} of {c.tuned.n:,} answers to {name} ended by end-of-turn, the others "
        "at generation.max_new_tokens. The end of the turn was not learned, or that limit is too "
        "low.",
        f"{c.metric} >= {LEAST_ENDED:g}",
        _names(c),
    )


def _repeats(c: Comparison) -> Defect | None:
    if not _score(c, "repetition") or not _beyond(c, MOST_REPEATED, 1):
        return None
    return Defect(
        "repeats itself",
        f"Answers go round in circles: {c.tuned.value:.0%} of the 4-grams of an answer to "
        f"{c.metric.rpartition('.')[0]} stood in it before.",
        f"{c.metric} <= {MOST_REPEATED:g}",
        _names(c),
    )


def _copies(c: Comparison) -> Defect | None:
    if not _score(c, "copied") or not _beyond(c, MOST_COPIED, 1):
        return None
    return Defect(
        "copies the prompt",
        f"Answers repeat the prompt: {c.tuned.value:.0%} of the 4-grams of an answer to "
        f"{c.metric.rpartition('.')[0]} stand in its prompt and not in its reference. Was it "
        "trained on the user's words?",
        f"{c.metric} <= {MOST_COPIED:g}",
        _names(c),
    )


def _says_the_same(compared: Sequence[Comparison], c: Comparison) -> Defect | None:
    name = c.metric.rpartition(".")[0]
    others = _one(compared, lambda one: one.metric == f"{name}.same_instead")
    asks = c if others is None else others  # without references all answers should differ
    if not _score(c, "same_answer") or asks.tuned.value is None or asks.tuned.n < FEWEST:
        return None
    if not _beyond(asks, MOST_SAME, 1):
        return None
    tokens = _one(compared, lambda one: one.metric == f"{name}.answer_tokens")
    empty = tokens is not None and (tokens.tuned.value or 0) <= 1  # the end of the turn alone
    what = "nothing" if empty else "one and the same"
    wrong = (
        "whatever is asked"
        if others is None
        else f"also {asks.tuned.value:.0%} of the {asks.tuned.n:,} that should be another"
    )
    return Defect(
        "always says the same",
        f"It does not listen: {c.tuned.value:.0%} of {c.tuned.n:,} answers to {name} are {what}, "
        f"{wrong}. The learning rate may be too high, or one answer fills the data.",
        f"{asks.metric} <= {MOST_SAME:g}",
        _names(asks),
    )


def _right(
    known: Sequence[Comparison], dataset: str, scores: Sequence[str] = RIGHT
) -> list[Comparison]:
    """Return what says how many answers to a dataset are right."""
    return [c for c in known for name in scores if c.metric == f"{dataset}.{name}"]


def _one(known: Sequence[Comparison], wanted: Callable[[Comparison], bool]) -> Comparison | None:
    return next((c for c in known if wanted(c)), None)


def _of_rows(known: Sequence[Comparison], group: str, side: str, dataset: str) -> Comparison | None:
    """Return a measure whose name ends in the key of a dataset's tokens."""
    return _one(known, lambda c: c.group == group and c.metric.startswith(f"{side}.{dataset}."))


def _served_otherwise(known: Sequence[Comparison], dataset: str) -> Defect | None:
    """Look for answers that are right in the tokens of training and wrong from the server.

    Validation and test rows are of one kind, so about as many of both should be right.
    """
    trained = _of_rows(known, "memorisation", "validation_exact", dataset)
    right = _right(known, dataset, WORD_FOR_WORD)
    if trained is None or not right or min(trained.tuned.n or 0, right[0].tuned.n or 0) < FEWEST:
        return None
    best = max(right, key=lambda c: c.tuned.value)
    less = trained.tuned.value - best.tuned.value
    error = math.hypot(trained.tuned.stderr or 0.0, best.tuned.stderr or 0.0)
    if less <= MOST_LOST_SERVED or less <= ERRORS * error:
        return None
    return Defect(
        "served otherwise than trained",
        f"Asked in the tokens of its training it says {trained.tuned.value:.0%} of the answers of "
        f"{dataset}'s validation rows word for word, but served only {best.tuned.value:.0%} of "
        f"those of its test rows are right ({best.metric}): the chat template of the server is "
        "not the one it was trained in, max_length cut the answers that it was trained on, or the "
        "rows differ in kind.",
        f"{best.metric} >= {trained.tuned.value - MOST_LOST_SERVED:.2g}",
        _names(best),
    )


def _learned_unseen(known: Sequence[Comparison], dataset: str) -> Defect | None:
    """Look for a validation loss that fell by far, and answers none of which are better."""
    loss = _of_rows(known, "loss", "validation", dataset)
    right = _right(known, dataset)
    if loss is None or loss.verdict != "better" or not right:
        return None
    learned = loss.tuned.value < LEARNED * loss.base.value
    shown = any(c.verdict == "better" or c.tuned.value >= 0.5 for c in right)
    if not learned or shown:
        return None
    return Defect(
        "served otherwise than trained",
        f"What it learned does not show: its loss on validation rows of {dataset} fell from "
        f"{figure(loss.base.value)} to {figure(loss.tuned.value)}, but no score of its answers is "
        f"better ({right[0].metric} {figure(right[0].tuned.value)}). Is it served in the chat "
        "template that it was trained in, and did the loss lie on the answers?",
        f"{right[0].metric} >= 0.5",
        _names(right[0]),
    )


def _learned_nothing(known: Sequence[Comparison], dataset: str) -> Defect | None:
    """Look for a model that is no better at its own task than the one it starts from."""
    loss, right = _of_rows(known, "loss", "validation", dataset), _right(known, dataset)
    if loss is None or loss.verdict not in ("same", "worse", "better"):
        return None
    # Row by row also the least change is sure: a rate of 1e-7 took 0.02 % off every row's loss.
    surely = loss.verdict == "better"
    if surely and loss.tuned.value < (1 - NO_EFFECT) * loss.base.value:
        return None
    able = any(c.base and (c.base.value or 0.0) >= ABLE_BEFORE for c in right)
    if able or any(c.verdict in ("better", "unsure") for c in right):
        return None
    answers = f", and no score of its answers is better ({_went(right[0])})" if right else ""
    return Defect(
        NOTHING,
        f"It learned nothing that shows: its loss on validation rows of {dataset} went from "
        f"{figure(loss.base.value)} to {figure(loss.tuned.value)}{answers}.",
        f"validation.{dataset} falls by at least "
        + (f"{NO_EFFECT:.1%}" if surely else f"{ERRORS:g} standard errors"),
        _names(loss),
    )


def _went(c: Comparison) -> str:
    base = figure(c.base.value) if c.base and c.base.value is not None else "not measured"
    return f"{c.metric} {base} \u2192 {figure(c.tuned.value)}"


def _apart(c: Comparison) -> str:
    return f" ({c.errors_apart:.1f} standard errors)" if math.isfinite(c.errors_apart) else ""


def _more(times: float) -> str:
    return f"{times - 1:.0%} more" if times < 10 else f"{figure(times)} times the"


def _forgot_text(known: Sequence[Comparison]) -> Defect | None:
    lost = [
        c
        for c in known
        if c.group == "loss"
        and c.metric.startswith("text.")
        and c.verdict == "worse"
        and c.tuned.value - c.base.value > FORGOTTEN
    ]
    if not lost:
        return None
    worst = max(lost, key=lambda c: c.tuned.value - c.base.value)
    name, base, tuned = worst.metric.partition(".")[2], worst.base.value, worst.tuned.value
    return Defect(
        "forgot",
        f"It forgot general text: its loss on {name} rose from {figure(base)} to {figure(tuned)}"
        f"{_apart(worst)}, which is {_more(math.exp(tuned - base))} perplexity.",
        f"no {worst.metric} rises by more than {FORGOTTEN:.2g}",
        _names(worst),
    )


def _forgot_tasks(known: Sequence[Comparison]) -> Defect | None:
    others = ("scores", "loss", "memorisation", "people")
    lost = [c for c in known if c.group not in others and c.verdict == "worse"]
    if not lost:
        return None
    lost.sort(key=lambda c: -c.errors_apart)
    named = [f"{_went(c)}{_apart(c)}" for c in lost[:MOST_NAMED]]
    more = f" and {len(lost) - MOST_NAMED} more" if len(lost) > MOST_NAMED else ""
    return Defect(
        "forgot",
        f"It lost ability on benchmarks: {', '.join(named)}{more}.",
        "no benchmark falls by more than 2 standard errors",
        _names(*lost[:MOST_NAMED]),
    )
