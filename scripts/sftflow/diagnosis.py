"""Named verdicts on a training: what its curves and its model's losses say about it.

Pure functions. The signs and the first of their thresholds are those that guides on supervised
fine-tuning agree on; where they speak of a bare number, a control is added here, so that an easy
task or a hard set of validation rows is not taken for a fault of the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sftflow.course import Point, noise, parts
from sftflow.effect import NO_EFFECT
from sftflow.signs import (
    ERRORS,
    FEWEST_STEPS,
    Run,
    both,
    gap_of,
    is_wide,
    known,
    late_fall,
    turning_point,
)

#: Where training usually brings the loss: 0.5 to 1.5 nats. Above this it may not have learned
#: enough; below the other, still falling, and with nothing held out, it may have learned too much.
USUAL_LOSS = (0.5, 1.5)
#: Above this (twice the usual) a model does not know what to answer, however the curve looks: the
#: end of a learning-rate schedule is flat also where the training was far too short.
HIGH_LOSS = 3.0
#: A training loss that fell by less than this share hardly moved.
LEAST_FALL = 0.05
#: A loss that in the last tenth still falls by this share is still falling fast.
FAST_FALL = 0.05
#: How far the end must lie above the start, or above the lowest tenth, to be a rise (nats).
LEAST_CLIMB = 0.1
#: A loss that climbed back by more than this share of what it had fallen has diverged.
CLIMBED_BACK = 0.5
#: From this share of answers on that are those of the start model, it answers as before.
ALL_ALIKE = 0.99
#: By how much (share of answers) training rows must be recited more often than validation rows.
MOST_RECITED = 0.2
#: Fewer rows than this say nothing about recitation.
FEWEST_ROWS = 10
#: Fewer shown answers than this say nothing about the format.
FEWEST_ANSWERS = 3

Figures = dict[str, float | int | None]


@dataclass(frozen=True)
class Verdict:
    """What holds of a run, the figures that say so, and what a person can do."""

    name: str
    sentence: str
    advice: str
    evidence: Figures = field(default_factory=dict)


def verdicts(run: Run) -> list[Verdict]:
    """Return what holds of a run, gravest first; ``healthy`` alone if nothing else does.

    A run with too few steps to be judged, and of whose model nothing was measured, gets none.
    """
    found: list[Verdict] = []
    for check in CHECKS:
        if (said := check(run, {v.name for v in found})) is not None:
            found.append(said)
    if found or not judged(run):
        return found
    return [_healthy(run)]


def judged(run: Run) -> bool:
    """Say whether there is anything to judge a run by."""
    return len(run.course.loss) >= FEWEST_STEPS or run.train is not None


def _healthy(run: Run) -> Verdict:
    tenths, best = parts(run.course.loss), run.course.best
    evidence: Figures = {"first_loss": _at(tenths, 0), "last_loss": _at(tenths, -1)}
    said = []
    if tenths:
        said.append(f"training loss went from {tenths[0]:.3g} to {tenths[-1]:.3g}")
    if best is not None:
        evidence |= {"best_validation_loss": best.value, "best_step": best.step}
        said.append(f"validation loss was lowest ({best.value:.3g}) at step {best.step}")
    if (gap := gap_of(run)) is not None:
        evidence |= gap
        way = "above" if gap["gap"] >= 0 else "below"
        said.append(f"validation loss lies {abs(gap['gap']):.2g} {way} training loss")
    return Verdict(
        "healthy",
        _sentence("; ".join(said)),
        "Nothing to change.",
        evidence,
    )


def diverged(run: Run, _before: set[str]) -> Verdict | None:
    """Look for a training loss that ends above where it began, or climbed back."""
    points = run.course.loss
    if len(points) < FEWEST_STEPS or run.ordered:
        return None
    tenths = parts(points)
    first, last, low = tenths[0], tenths[-1], min(tenths)
    margin = max(LEAST_CLIMB, 3 * noise(points))
    rose = last > first + margin
    back = last - low > margin and last - low > CLIMBED_BACK * (first - low)
    if not (rose or back):
        return None
    how = (
        f"training loss rose from {first:.3g} to {last:.3g}"
        if rose
        else f"training loss fell from {first:.3g} to {low:.3g} and climbed back to {last:.3g}"
    )
    rate = max((p.value for p in run.course.learning_rate), default=None)
    was = "" if rate is None else f" (it was {rate:g} at its highest)"
    return Verdict(
        "diverged",
        _sentence(how),
        f"Divide training.learning_rate{was} by 3 to 10, or raise training.warmup_ratio; if that "
        "does not help, look at the rows and their masks.",
        {
            "first_loss": first,
            "lowest_loss": low,
            "last_loss": last,
            "highest_learning_rate": rate,
            "highest_grad_norm": max((p.value for p in run.course.grad_norm), default=None),
        },
    )


def _did_nothing(run: Run, _before: set[str]) -> Verdict | None:
    """Look for the losses of the start model on the same rows, or for its answers."""
    sides = [s for s in (run.train, run.validation) if s is not None and both(s) is not None]
    changes = [tuned / start - 1 for tuned, start in map(both, sides) if start]
    largest = max(changes, key=abs, default=None)
    alike = run.unchanged / run.answers if run.answers >= FEWEST_ROWS else None
    if largest is not None and abs(largest) < NO_EFFECT:
        said = (
            f"The losses of the start model changed by at most {abs(largest):.2%} on the same rows."
        )
    elif alike is not None and alike >= ALL_ALIKE and run.right_before < ALL_ALIKE * run.answers:
        said = f"{run.unchanged} of {run.answers} answers are word for word the start model's."
    else:
        return None
    return Verdict(
        "did_nothing",
        said,
        "Multiply training.learning_rate by 3 to 10 or train more steps "
        f"(training.num_train_epochs){_adapter(run, ', and look at lora.target_modules')}.",
        {"largest_change": largest, "sides": len(changes), "answers_unchanged": alike},
    )


def memorised(run: Run, _before: set[str]) -> Verdict | None:
    """Look for answers of training rows that are recited where those of validation rows are not."""
    if run.train is None or run.validation is None:
        return None
    mine, control = run.train.exact, run.validation.exact
    if not (known(mine) and known(control)) or min(mine["n"], control["n"]) < FEWEST_ROWS:
        return None
    more = mine["value"] - control["value"]
    error = math.hypot(mine["stderr"] or 0, control["stderr"] or 0)
    if more <= MOST_RECITED or more <= ERRORS * error:
        return None
    return Verdict(
        "memorised",
        f"The model recites {mine['value']:.0%} of the answers of {mine['n']} training rows word "
        f"for word, and {control['value']:.0%} of those of {control['n']} validation rows.",
        "Lower training.num_train_epochs or training.learning_rate, drop duplicates, or add rows "
        "(datasets.*.mix takes general ones).",
        {"train_exact": mine["value"], "validation_exact": control["value"], "stderr": error},
    )


def _overfit(run: Run, before: set[str]) -> Verdict | None:
    """Look for a validation loss that turned, or lies far above training loss."""
    if "diverged" in before:
        return None
    said: list[str] = []
    evidence: Figures = {}
    if (turned := turning_point(run.course)) is not None:
        last = run.course.validation[-1].value
        said.append(
            f"validation loss was lowest ({turned.value:.3g}) at step {turned.step} and rose to "
            f"{last:.3g} in the {len(run.course.after_best)} evaluations after it"
        )
        evidence |= {
            "best_validation_loss": turned.value,
            "best_step": turned.step,
            "last_validation_loss": last,
        }
    gap = gap_of(run)
    if gap is not None and is_wide(gap):
        was = f", and lay {gap['gap_before']:.2g} above it before" if run.train else ""
        said.append(f"validation loss lies {gap['gap']:.2g} above training loss{was}")
        evidence |= gap
    if (fall := late_fall(run)) is not None and not run.course.validation:
        last = parts(run.course.loss)[-1]
        if last < USUAL_LOSS[0] and fall > FAST_FALL:
            said.append(
                f"training loss is {last:.2g} and still falls fast, with no validation rows to "
                "judge it by"
            )
            evidence |= {"last_loss": last, "late_fall": fall}
    if not said:
        return None
    return Verdict("overfit", _sentence("; ".join(said)), _less(run, turned, said), evidence)


def _less(run: Run, turned: Point | None, said: Sequence[str]) -> str:
    """Say what to change of a run that learned too much."""
    if turned is not None and run.kept_step == turned.step and len(said) == 1:
        return (
            f"The weights of step {turned.step} were kept, so the model has none of it; a lower "
            "training.num_train_epochs saves the steps after it."
        )
    keeps = run.training.get("load_best_model_at_end", True)
    first = "" if keeps else "Set training.load_best_model_at_end: true. "
    return (
        f"{first}Lower training.num_train_epochs or training.learning_rate, raise "
        f"training.weight_decay{_adapter(run, ' or lora.lora_dropout')}, or add rows."
    )


def _adapter(run: Run, advice: str) -> str:
    """Return advice about LoRA, nothing for another method."""
    return advice if run.method in ("lora", "qlora") else ""


def _underfit(run: Run, before: set[str]) -> Verdict | None:
    """Look for a high training loss that hardly moved or still falls fast, or endless answers."""
    if before & {"diverged", "did_nothing"}:
        return None
    said: list[str] = []
    evidence: Figures = {}
    points = run.course.loss
    if len(points) >= FEWEST_STEPS:
        tenths = parts(points)
        first, last, late = tenths[0], tenths[-1], late_fall(run)
        fell = 1 - last / first if first else 0.0
        figures: Figures = {"first_loss": first, "last_loss": last, "fall": fell}
        if last > USUAL_LOSS[1] and fell < LEAST_FALL:
            said.append(f"training loss hardly moved, from {first:.3g} to {last:.3g}")
            evidence |= figures
        elif last > USUAL_LOSS[1] and late is not None and late > FAST_FALL:
            said.append(
                f"training loss is still {last:.3g} and fell by {late:.0%} in the last tenth"
            )
            evidence |= {**figures, "late_fall": late}
        elif last > HIGH_LOSS:
            said.append(
                f"training loss is {last:.3g} at its end, from {first:.3g}; where answers are "
                f"learned it lies at {USUAL_LOSS[0]} to {USUAL_LOSS[1]}"
            )
            evidence |= figures
    if run.shown >= FEWEST_ANSWERS and run.running_on == run.shown:
        said.append(f"none of the {run.shown} shown answers comes to an end")
        evidence |= {"shown": run.shown, "running_on": run.running_on}
    if not said:
        return None
    return Verdict(
        "underfit",
        _sentence("; ".join(said)),
        f"Raise training.num_train_epochs or training.learning_rate{_adapter(run, ' or lora.r')}; "
        "look at the mask preview if the format is not followed.",
        evidence,
    )


def _at(values: Sequence[float], place: int) -> float | None:
    return values[place] if values else None


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


Check = Callable[[Run, set[str]], Verdict | None]
CHECKS: tuple[Check, ...] = (diverged, _did_nothing, memorised, _overfit, _underfit)
