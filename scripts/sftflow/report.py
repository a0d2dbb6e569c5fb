"""The report: one HTML page that needs no network, and whose data can't become script.

What keeps it so: the template escapes every value; figures for the plots stand in JSON
blocks in which ``<`` is escaped; and the page's own policy lets a browser run the two
scripts with the digests named in it and fetch nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sftflow import (
    checkpointsection,
    figures,
    formsection,
    gatesection,
    judgements,
    lineage,
    modelcolors,
    originsection,
    pairedsection,
    plots,
    samples,
    speed,
    verdicts,
    versionsection,
)
from sftflow.comparison import Comparison
from sftflow.comparisonsection import comparison_section
from sftflow.dataoverview import data_section
from sftflow.defects import NOTHING, defects
from sftflow.incontextreport import in_context_findings, in_context_section
from sftflow.memorysection import kept_memory, memory_told
from sftflow.opinionpage import judge_findings, opinion_section
from sftflow.pagepolicy import policy
from sftflow.pagetemplates import TEMPLATES, breakable, page_templates
from sftflow.preferencereport import preference_findings, preference_section
from sftflow.searchsection import search_section
from sftflow.seenquestions import with_questions
from sftflow.stage import StageError
from sftflow.summary import Measurement

#: Runs above this many are drawn into one plot of validation loss.
MOST_CURVES = 6
#: Above this many tuned models the first screen tells the best one and a table of all.
MOST_VERDICTS = 3
DEFAULTS = {
    "title": "sftflow",
    "datasets": {},
    "runs": {},
    "sweeps": {},
    "suites": {},
    "comparisons": [],
    "gates": [],
    "slo": {},
    "headline": None,
    "sample_answers": 12,
    "sample_chars": 600,
    "redact_samples": False,
    "in_context": [],
    "judges": {},
    "people": [],
    "questions": [],
}


def page(results: Path, spec: Mapping[str, Any], summary: Sequence[Measurement]) -> str:
    """Return the report's HTML from the summary and from what lies under ``results``."""
    spec = {**DEFAULTS, **spec}
    models = with_questions(results, spec["models"], spec["questions"])
    spec["models"] = models
    answered = samples.generations(results, models)
    lengths = {name: samples.mean_tokens(rows) for name, rows in answered.items()}
    latencies = speed.latencies(results, models)
    good = speed.goodputs(results, latencies, spec["slo"])
    evaluated = lineage.evaluations(results, models)
    against = pairedsection.comparisons_made(results, spec["comparisons"])
    bases = {m["name"]: m["base"] for m in models}
    by_rows = {m: pairedsection.pairs_of(against.get((m, base))) for m, base in bases.items()}
    compared = verdicts.comparisons(summary, models, by_rows)
    ranked = verdicts.ranking(compared, spec["headline"])
    known = lineage.manifests(results, lineage.folders(spec))
    history = lineage.histories(results, spec["runs"])
    judged = judgements.judgements(results, spec["runs"])
    speed_said, speed_plots = speed.speed_section(latencies, models, lengths, good, ranked)
    compared_said, compared_plots = comparison_section(compared, ranked, models)
    paired, pair_plots = pairedsection.paired_sections(results, against, bases, answered, spec)
    data, data_plots = data_section(results, spec, known)
    colors = modelcolors.model_colors(models)
    curves, curve_plots = curve_section(history, run_colors(models, colors, ranked), judged, spec)
    searched, search_plots = search_section(results, spec, known, judged)
    checkpoints, checkpoint_plots = checkpointsection.checkpoint_section(
        results, spec["runs"], known, spec["sample_chars"], spec["redact_samples"]
    )
    opinions, opinion_plots = opinion_section(results, spec, colors)
    preferences, preference_plots = preference_section(results, spec)
    in_context = in_context_section(results, spec, summary)
    told = ranked[:MOST_VERDICTS]
    before, before_plots = versionsection.version_sections(results, told, summary, spec["headline"])
    screen = first_screen(spec, compared, ranked, summary, latencies, judged)
    ships = gatesection.all_shipping(results, models)
    for one in screen["verdicts"]:
        rules = [rule["rule"] for rule in ships[one["model"]]["rules"]]
        one["defects"] = [(d.text, *gatesection.stopped_by(d, rules)) for d in one["defects"]]
        one["findings"] += judge_findings(results, spec, one["model"])
        one["findings"] += in_context_findings(in_context, one["model"])
        one["findings"] += preference_findings(preferences, spec["models"], one["model"])
    context = {
        "title": spec["title"],
        **screen,
        **paired,
        "ships": ships,
        "compared": compared_said,
        "in_context": in_context,
        "forms": formsection.form_tables(models, summary, against, known),
        "opinions": opinions,
        "before": before,
        "folded": len(compared) > MOST_VERDICTS,
        "cut_answers": lineage.cut_answers(evaluated, models),
        "speed": speed_said,
        "answers": answer_section(answered, ranked, spec),
        "runs": [
            lineage.run_row(name, run, known, history.get(name))
            | {"memory": memory_told(kept_memory(results / "runs" / name))}
            | {"judged": judgements.shown(judged.get(name))}
            for name, run in spec["runs"].items()
        ],
        "searches": searched,
        "many_runs": len(spec["runs"]) > MOST_CURVES,
        "limits": {name: s["limit"] for name, s in spec["suites"].items() if s.get("limit")},
        "curves": curves,
        "preferences": preferences,
        "checkpoints": checkpoints,
        "data": data,
        "ways": originsection.ways(spec, known),
        "config": originsection.config_text(spec),
        "versions": lineage.versions(known, evaluated),
        "digests": lineage.digests(known),
        "absent": lineage.absent(results, spec),
        "plots": speed_plots
        | compared_plots
        | pair_plots
        | curve_plots
        | preference_plots
        | checkpoint_plots
        | data_plots
        | before_plots
        | opinion_plots
        | search_plots,
    }
    return render(context)


def first_screen(
    spec: Mapping[str, Any],
    compared: Mapping[str, Sequence[Comparison]],
    ranked: Sequence[str],
    summary: Sequence[Measurement],
    latencies: Mapping[str, speed.Latency],
    judged: judgements.Judgements,
) -> dict[str, Any]:
    """Return each verdict, or the best model's only where there are many; and all in a table."""
    models, wanted = spec["models"], spec["headline"]
    base_of = {m["name"]: m["base"] for m in models}
    lines, name = verdicts.overview(models, compared, summary, wanted)
    place = {model: i for i, model in enumerate(ranked)}
    lines.sort(key=lambda line: place.get(line["model"], -1))
    told = ranked if len(ranked) <= MOST_VERDICTS else ranked[:1]
    wrong = {m["name"]: defects(compared.get(m["name"], []), m) for m in models}
    named = {name: {one for d in found for one in d.measures} for name, found in wrong.items()}
    said = [verdicts.verdict(m, base_of[m], compared[m], wanted, latencies, named[m]) for m in told]
    run_of = {m["name"]: m["run"] for m in models}
    for one in said:
        one["defects"] = wrong[one["model"]]
        told_above = {"did_nothing"} if any(d.name == NOTHING for d in one["defects"]) else set()
        one["findings"] += judgements.findings(judged.get(run_of[one["model"]]), told_above)
    for line in lines:
        line["defects"] = list(dict.fromkeys(d.name for d in wrong[line["model"]]))
    return {
        "verdicts": said,
        "overview": lines if len(models) > 2 else [],
        "headline_name": name,
    }


def run_colors(
    models: Sequence[Mapping[str, Any]], colors: Mapping[str, str], ranked: Sequence[str]
) -> dict[str, str]:
    """Return the colours of runs in one plot: those of their models, of many the best."""
    mine = modelcolors.told_apart(
        {m["name"]: colors[m["name"]] for m in models if m["run"]}, ranked
    )
    return {m["run"]: mine[m["name"]] for m in models if m["run"]}


def curve_section(
    history: Mapping[str, Sequence[Mapping[str, Any]]],
    colors: Mapping[str, str],
    judged: judgements.Judgements,
    spec: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], dict[str, dict]]:
    """Return the plots of loss over steps: one per run, or one for all where there are many.

    ``colors`` are those of measured runs; others are drawn quietly.
    """
    units = {run: "loss of pairs" for run in history if spec["runs"][run].get("dpo")}
    if len(history) <= MOST_CURVES:
        said = [
            {"plot": f"plot-loss-{number}", "caption": run, "key": []}
            for number, run in enumerate(history, start=1)
        ]
        drawn = [
            plots.loss_curves(
                rows,
                mark=judgements.mark(judged.get(run)),
                unit=units.get(run, "loss (nats per token)"),
            )
            for run, rows in history.items()
        ]
    else:
        mine = {run: colors.get(run, modelcolors.OTHER_COLOR) for run in history}
        caption = f"Validation loss of {len(history)} runs"
        said = [{"plot": "plot-loss-all", "caption": caption, "key": modelcolors.color_key(mine)}]
        rows = [r for one in history.values() for r in one if r["curve"] == "validation"]
        drawn = [plots.loss_curves(rows, mine, unit="loss" if units else "loss (nats per token)")]
    return said, {one["plot"]: plot for one, plot in zip(said, drawn, strict=True)}


def answer_section(
    answered: Mapping[str, samples.Rows], ranked: Sequence[str], spec: Mapping[str, Any]
) -> dict[str, Any]:
    """Return sample answers of the best models and their start models, unless left out."""
    if spec["redact_samples"]:
        return {"removed": True}
    best = ranked[:MOST_VERDICTS]
    side_by_side = {*best, *(m["base"] for m in spec["models"] if m["name"] in best)}
    some = {m: rows for m, rows in answered.items() if m in side_by_side or not best}
    shown, total = samples.side_by_side(some, spec["sample_answers"], spec["sample_chars"])
    return {
        "removed": False,
        "samples": shown,
        "total": total,
        "chars": spec["sample_chars"],
        "models_left_out": len(answered) - len(some),
    }


def library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script that needs nothing else."""
    import vl_convert

    bundle = vl_convert.javascript_bundle()
    # A browser would end the script there, or hash other bytes than those hashed here.
    for unfit in ("</script", "<!--", "\r", "\x00"):
        if unfit in bundle.lower():
            raise StageError(f"vl-convert's bundle holds {unfit!r}, which can't stand in a page")
    return bundle


def render(context: Mapping[str, Any]) -> str:
    """Return the page; every value of ``context`` is escaped by the template."""
    environment = page_templates()
    environment.policies["json.dumps_kwargs"] = {
        "sort_keys": True,
        "allow_nan": False,
        "separators": (",", ":"),
    }
    environment.filters.update(
        {
            "breakable": breakable,
            "figure": figures.figure,
            "error": figures.error,
            "signed": figures.signed,
            "count": figures.count,
            "percent": figures.percent,
            "plain": figures.plain,
            "epochs": figures.rounded,
        }
    )
    bundle, script = library(), (TEMPLATES / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        **context,
        policy=policy(bundle, script),
        bundle=Markup(bundle),  # noqa: S704 - a library, no data
        script=Markup(script),  # noqa: S704 - a file of this repository
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),  # noqa: S704
    )
