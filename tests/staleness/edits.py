"""The table: an edit -> the exact set of jobs that must run after it, and no others.

The edits are made one after the other on one project (project.py), so each starts from a
finished run of the one before. What is expected follows from what each stage reads, and from
whether its bytes come out differently; no number here was copied from a run.
"""

from __future__ import annotations

from staleness import edits_code as code
from staleness import edits_config as config
from staleness import edits_data as data
from staleness import edits_results as results

TABLE = [
    *config.SAME,
    *code.SAME,
    *data.SAME,
    *results.COPIED,
    *code.VERSIONS,
    *data.CHANGED,
    *code.CHANGED,
    *results.LOST,
    *config.STOPPED,
    *config.CHANGED,
]

# These undo the edit before them, or are made by running sftflow: no edits of stock Snakemake's.
CONTINUED = {
    "moved back",
    "the step off and on again",
    "the row taken back before a training saw it",
    "the row as it was",
    "the rows put back in their places",
    "the change taken back",
    "a model card in the base's folder",
    "a weight in the base's folder",
    "the weight as it was",
    "the package as it was",
    "benchmark questions as before",
    "no mix again, before a training saw it",
    "the group column off again",
    "the embedding model moved, and a card in its folder",
    "rows that mean the same left alone",
    "bounds of what is asked",
    "the temperature of what is asked",
    "nothing asked any more, before a training saw it",
    "a run removed",
    "an interrupted run continued",
}
