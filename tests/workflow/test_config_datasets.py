"""Faults of data that a config names: split, mix, columns, cleaning steps and their models."""

from __future__ import annotations

import pytest
from broken_config import (
    JUDGE,
    MEANING,
    assert_one_fault,
    cleaned,
    edited,
    load,
)

from sftflow.configschema import schema

BROKEN = {
    "split leaves nothing": (
        edited(datasets__talk={"sources": ["mine"], "split": {"validation": 0.5, "test": 0.5}}),
        "leave no row to train on",
    ),
    "mix of an unknown source": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mnie": {"times": 2}}}),
        "datasets.talk.mix.mnie: is no source of this dataset; did you mean 'mine'?",
    ),
    "mix by two ways": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": {"times": 2, "rows": 5}}}),
        "mix.mine: must have one of times, rows and ratio; it has times and rows",
    ),
    "mix by no way": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": {"seed": 2}}}),
        "mix.mine: must have one of times, rows and ratio; it has none of them",
    ),
    "mix of ratios alone": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": {"ratio": 2}}}),
        "datasets.talk.mix: every source has a ratio, so there is nothing that they refer to",
    ),
    "mix with ratio 0": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": {"ratio": 0}}}),
        "datasets.talk.mix.mine.ratio: 0 is out of range, must be more than 0",
    ),
    "mix of no rows": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": {"rows": 0}}}),
        "datasets.talk.mix.mine.rows: 0 is out of range, must be at least 1",
    ),
    "mix by a bare number": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": 0.5}}),
        "datasets.talk.mix.mine: must be keys and values, not 0.5",
    ),
    "misspelt way of a mix": (
        edited(datasets__talk={"sources": ["mine"], "mix": {"mine": {"ratoi": 1}}}),
        "datasets.talk.mix.mine.ratoi: unknown key; did you mean 'ratio'?",
    ),
    "questions dropped without suites": (
        edited(datasets__talk={"sources": ["mine"], "decontaminate": {"action": "drop"}}),
        "decontaminate.action: is drop, but no run on this dataset has suites",
    ),
    "unknown action": (
        edited(datasets__talk={"sources": ["mine"], "decontaminate": {"action": "remove"}}),
        "datasets.talk.decontaminate.action: 'remove' is not known",
    ),
    "unknown order": (
        edited(runs__talk_lora__order="random"),
        "runs.talk-lora.order: 'random' is not known",
    ),
    "compared with nothing": (
        edited(datasets__talk={"sources": ["mine"], "compare_with": "kept/v1.json"}),
        "kept/v1.json, and no such other dataset (there are: none)",
    ),
    "compared with itself": (
        edited(datasets__talk={"sources": ["mine"], "compare_with": "talk"}),
        "datasets.talk.compare_with: the datasets are compared in a circle: talk <- talk",
    ),
    "compared with what is made anew": (
        edited(datasets__talk={"sources": ["mine"], "compare_with": "results/datasets/talk"}),
        "results/datasets/talk is made anew by each run; keep a copy elsewhere",
    ),
    "columns half named": (
        edited(sources__mine={"path": "rows.jsonl", "columns": {"prompt": "q"}}),
        "needs prompt and completion",
    ),
    "group beside half of the columns": (
        edited(sources__mine={"path": "rows.jsonl", "columns": {"prompt": "q", "group": "g"}}),
        "sources.mine.columns: needs prompt and completion",
    ),
    "format columns with labels alone": (
        edited(
            sources__mine={"path": "rows.jsonl", "format": "columns", "columns": {"group": "g"}}
        ),
        "sources.mine.columns: names no text; format 'columns' needs prompt and completion",
    ),
    "no columns named": (
        edited(sources__mine={"path": "rows.jsonl", "columns": {}}),
        "sources.mine.columns: is empty; name at least one",
    ),
    "groups of several columns": (
        edited(sources__mine={"path": "rows.jsonl", "columns": {"group": ["a", "b"]}}),
        "sources.mine.columns.group: must be text, not a list",
    ),
    "tags of no column": (
        edited(sources__mine={"path": "rows.jsonl", "columns": {"tags": []}}),
        "sources.mine.columns.tags: is empty; name at least one",
    ),
    "tags that are no columns": (
        edited(sources__mine={"path": "rows.jsonl", "columns": {"tags": 3}}),
        "sources.mine.columns.tags: must be text or a list, not 3",
    ),
    "stratified by tags that nothing has": (
        edited(datasets__talk={"sources": ["mine"], "split": {"stratify": "tag"}}),
        "datasets.talk.split.stratify: is tag, but none of its sources (mine) has columns.tags",
    ),
    "unknown strata": (
        edited(datasets__talk={"sources": ["mine"], "split": {"stratify": "group"}}),
        "datasets.talk.split.stratify: 'group' is not known",
    ),
    "unknown step": (
        edited(datasets__talk={"sources": ["mine"], "clean": [{"step": "lenght"}]}),
        "datasets.talk.clean[0].step: 'lenght' is not known; did you mean 'length'?",
    ),
    "unknown option of a step": (
        edited(datasets__talk={"sources": ["mine"], "clean": [{"step": "length", "min": 3}]}),
        "datasets.talk.clean[0].min: unknown key",
    ),
    "language that is not known": (
        cleaned({"step": "language", "languages": ["englisch"]}),
        "datasets.talk.clean[0].languages[0]: 'englisch' is not known",
    ),
    "language step without languages": (
        cleaned({"step": "language"}),
        "datasets.talk.clean[0]: 'languages' is missing",
    ),
    "phone country": (
        cleaned({"step": "personal_data", "countries": ["usa"]}),
        "clean[0].countries[0]: 'usa' is no country; write ISO 3166 codes such as US, DE, CN",
    ),
    "kind of personal data": (
        cleaned({"step": "personal_data", "kinds": ["mail"]}),
        "clean[0].kinds[0]: 'mail' is not known; did you mean 'email'?",
    ),
    "action of a step": (
        cleaned({"step": "secrets", "action": "hide"}),
        "clean[0].action: 'hide' is not known; known: drop, mask, report",
    ),
    "phrase that is no expression": (
        cleaned({"step": "length"}, {"step": "refusals", "phrases": ["ok", "(no"]}),
        "datasets.talk.clean[1].phrases[1]: '(no' is no regular expression",
    ),
    "phrase that is everywhere": (
        cleaned({"step": "boilerplate", "openers": ["x*"]}),
        "clean[0].openers[0]: 'x*' matches no text at all, and so every text",
    ),
    "judge without a server": (
        cleaned({k: v for k, v in JUDGE.items() if k != "base_url"}),
        "datasets.talk.clean[0].model: there is no base 'm' to be served here; there are: tiny. A "
        "model elsewhere needs base_url",
    ),
    "judge with a bad address": (
        cleaned({**JUDGE, "base_url": "localhost:8000"}),
        "clean[0].base_url: 'localhost:8000' is no address; it begins with http://",
    ),
    "judge with a password": (
        cleaned({**JUDGE, "base_url": "http://me:pw@host/v1"}),
        "clean[0].base_url: holds what looks like a key, token or password",
    ),
    "judge with its key in the config": (
        cleaned({**JUDGE, "api_key": "abc"}),
        "clean[0].api_key: unknown key; did you mean 'api_key_env'?",
    ),
    "judge with a key for a name": (
        cleaned({**JUDGE, "api_key_env": "sk-abc"}),
        "clean[0].api_key_env: what stands there can't be the name of an environment variable",
    ),
    "score outside of the scale": (
        cleaned({**JUDGE, "scale": [0, 1]}),
        "clean[0].min_score: 4 is not within the scale 0 to 1",
    ),
    "scale upside down": (cleaned({**JUDGE, "scale": [5, 1]}), "must be less than the highest 1"),
    "request that the step makes": (
        cleaned({**JUDGE, "request": {"model": "n"}}),
        "clean[0].request.model: is set by the step itself; leave it out",
    ),
    "threshold over 1": (
        edited(
            datasets__talk={
                "sources": ["mine"],
                "clean": [{"step": "near_duplicates", "threshold": 80}],
            }
        ),
        "datasets.talk.clean[0].threshold: 80 is out of range, must be at most 1",
    ),
    "unknown comparison": (
        edited(
            datasets__talk={
                "sources": ["mine"],
                "clean": [{"step": "near_duplicates", "compare": "promt"}],
            }
        ),
        "datasets.talk.clean[0].compare: 'promt' is not known; did you mean 'prompt'?",
    ),
    "embedding model that is not there": (
        cleaned({"step": "length"}, MEANING),
        "models/gone; a model of the hub needs `revision` beside its name, the 40 hex digits",
    ),
    "embedding model without a name": (
        cleaned({"step": "semantic_duplicates"}),
        "datasets.talk.clean[0]: 'model' is missing",
    ),
    "embedding model that is none": (
        cleaned({**MEANING, "model": "."}),
        "holds neither modules.json nor config.json, so it is no model",
    ),
    "embedding model at a branch": (
        cleaned({**MEANING, "model": "owner/name", "revision": "main"}),
        "datasets.talk.clean[0].revision: 'main' is no commit; give its 40 hex digits",
    ),
    "revision of a folder": (
        cleaned({**MEANING, "model": "models", "revision": "0" * 40}),
        "clean[0].revision: stands beside 'models', which is no hub id (owner/name)",
    ),
    "cosine of words": (
        cleaned({**MEANING, "model": "a/b", "revision": "0" * 40, "threshold": 0.1}),
        "datasets.talk.clean[0].threshold: 0.1 is out of range, must be at least 0.5",
    ),
    "near in words": (
        edited(
            datasets__talk={"sources": ["mine"], "clean": [{"step": "conflicts", "near": "close"}]}
        ),
        "datasets.talk.clean[0].near: must be a number or null, not 'close'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_told_in_a_sentence(name, tmp_path):
    assert_one_fault(tmp_path, *BROKEN[name])


def test_every_cleaning_step_gets_its_defaults(tmp_path):
    names = schema()["$defs"]["step"]["properties"]["step"]["enum"]
    needed = {"language": {"languages": ["en", "no"]}, "judge": JUDGE}
    needed["semantic_duplicates"] = {"model": "owner/name", "revision": "0" * 40}
    steps = [{"step": name, **needed.get(name, {})} for name in names]
    for step in load(tmp_path, cleaned(*steps))["datasets"]["talk"]["clean"]:
        assert set(step) == set(schema()["$defs"]["steps"][step["step"]]["properties"])
