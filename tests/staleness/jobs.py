"""The jobs of the small project, as "rule wildcards", in the sets in which they go stale."""

from __future__ import annotations

KEY = "*"  # the templated key; there is one at a time
RUN, BASE = "s.r-2", "t"
EXPORT = f"{RUN}+w8a8"


def measured(model: str) -> set[str]:
    """Return the jobs that measure one model and score what it said."""
    return {
        f"measure_latency {model}",
        f"run_benchmark {model} q",
        f"generate_answers {model}",
        f"score_answers {model}",
        f"measure_loss {model}",
    }


TOLD = {"summarize_results", "check_gates", "keep_history", "build_report"}
# The history reads figures and not which package made them.
TOLD_OF_PACKAGES = TOLD - {"keep_history"}
PAGES = {"report_dataset d", "build_report"}
COMPARED = f"compare_models {RUN} {BASE}"
# A model that changed a little may answer as before: then its scores stand.
ANSWERS = {f"score_answers {BASE}", f"score_answers {RUN}", COMPARED}
TRAINED = {f"train_adapter {RUN}", f"merge_adapter {RUN}"}
JUDGED = f"judge_run {RUN}"

SPLIT = {"ingest_source a", "clean_dataset d", "split_dataset d", "find_contamination d"}
DATA = {*SPLIT, "report_dataset d"}
GROUPED = {"ingest_source a", "clean_dataset d", "split_dataset d"}
TOKENS = {"template_data *"}
TO_TOKENS = ("data", "tokens")
# Both models' losses are measured on training rows too.
RETRAINED = {*TRAINED, *measured(RUN), f"measure_loss {BASE}", COMPARED, JUDGED, *TOLD}
EVERYTHING = {
    "ingest_source a",
    "ingest_source b",
    "clean_dataset d",
    "split_dataset d",
    "find_contamination d",
    *PAGES,
    f"prepare_base {BASE}",
    *TOKENS,
    *TRAINED,
    *measured(BASE),
    *measured(RUN),
    COMPARED,
    JUDGED,
    *TOLD,
}
