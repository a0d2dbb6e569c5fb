"""Faults of sources that are made, by an endpoint or by a base, and of judges that are served."""

from __future__ import annotations

import pytest
from broken_config import (
    ENDPOINT,
    GOOD,
    assert_one_fault,
    cleaned,
    edited,
    faults,
    load,
    made,
)

from sftflow.configschema import schema

BROKEN = {
    "path and make": (
        edited(
            sources={
                "mine": {"path": "rows.jsonl"},
                "new": made()["sources"]["new"] | {"path": "rows.jsonl"},
            }
        ),
        "sources.new: must have one of path and make; it has path and make",
    ),
    "neither path nor make": (
        edited(sources__new={}),
        "sources.new: must have one of path and make; it has neither",
    ),
    "unknown method": (made("best_of"), "sources.new.make.method: 'best_of' is not known; did you"),
    "empty path": (edited(sources__mine={"path": []}), "sources.mine.path: is empty"),
    "misspelt path": (edited(sources__mine={"pth": "rows.jsonl"}), "did you mean 'path'?"),
    "made in no way": (
        edited(sources__new={"make": {"from": "mine"}}),
        "sources.new.make: 'method' is missing",
    ),
    "made by a word": (
        edited(sources__new={"make": "rewrite"}),
        "sources.new.make: must be keys and values or null, not 'rewrite'",
    ),
    "option of another method": (
        made("rewrite", candidates=3),
        "sources.new.make.candidates: unknown key; known: ",
    ),
    "made without an endpoint": (
        edited(sources__new={"make": {"method": "refusals", "from": "mine"}}),
        "sources.new.make: 'endpoint' is missing",
    ),
    "self-instruct without rows": (
        made("self_instruct"),
        "sources.new.make: 'rows' is missing",
    ),
    "made from nothing": (
        made(come_from="mnie"),
        "sources.new.make.from: there is no source 'mnie' (there are: mine) and no file ",
    ),
    "rewriting of prompts": (
        made("rewrite", "rows.jsonl"),
        "sources.new.make.from: rewrite needs rows with answers",
    ),
    "made from what is no prompt": (
        made(come_from="rows.jsonl"),
        "rows.jsonl, line 1 is not a prompt",
    ),
    "cost without a price": (
        made(limits={"max_cost": 3}),
        "sources.new.make.limits.max_cost: needs price_per_million",
    ),
    "request that says what the method says": (
        made(request={"n": 3}),
        "sources.new.make.request.n: is set by the method",
    ),
    "key in the config": (
        made(endpoint={**ENDPOINT, "api_key": "k"}),
        "sources.new.make.endpoint.api_key: unknown key; did you mean 'api_key_env'?",
    ),
    "made by a base that is none": (
        made(endpoint={"model": "tniy"}),
        "sources.new.make.endpoint.model: there is no base 'tniy' to be served here; did you mean "
        "'tiny'? A model elsewhere needs base_url",
    ),
    "made by a run": (
        made(endpoint={"model": "talk-lora"}),
        "sources.new.make.endpoint.model: 'talk-lora' is a run, which is trained on data; only a "
        "base can make or judge data (there are: tiny)",
    ),
    "key of a base": (
        made(endpoint={"model": "tiny", "api_key_env": "KEY"}),
        "sources.new.make.endpoint.api_key_env: a base that is served here needs no key",
    ),
    "two models at one server": (
        made(endpoint={"model": "tiny"}, judge_model="large"),
        "sources.new.make.judge_model: a server that is started here has one model, 'tiny'",
    ),
    "made at a bad address": (
        made(endpoint={**ENDPOINT, "base_url": "host/v1"}),
        "sources.new.make.endpoint.base_url: 'host/v1' is no address; it begins with http://",
    ),
    "made nowhere": (
        made(endpoint={"base_url": None}),
        "sources.new.make.endpoint: 'model' is missing",
    ),
    "judged by a run": (
        cleaned({"step": "judge", "model": "talk-lora", "min_score": 3}),
        "datasets.talk.clean[0].model: 'talk-lora' is a run, which is trained on data; only a base",
    ),
    "judged by two": (
        edited(
            bases__other=GOOD["bases"]["tiny"],
            datasets__talk={
                "sources": ["mine"],
                "clean": [
                    {"step": "judge", "model": name, "min_score": 3} for name in ("tiny", "other")
                ],
            },
        ),
        "datasets.talk.clean: tiny and other are both to judge, and one server at a time",
    ),
    "unknown operation": (
        made("evol_instruct", operations=["deeper"]),
        "sources.new.make.operations[0]: 'deeper' is not known; did you mean 'deepen'?",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_told_in_a_sentence(name, tmp_path):
    assert_one_fault(tmp_path, *BROKEN[name])


def test_sources_made_in_a_circle_are_told(tmp_path):
    config = made(come_from="other")
    config["sources"]["other"] = {"make": {**config["sources"]["new"]["make"], "from": "new"}}
    told = faults(tmp_path, config)
    assert len(told) == 2
    assert "sources.new.make.from: the sources are made from each other in a circle" in told[0]
    assert "new <- other <- new" in told[0]


def test_every_way_of_making_gets_its_defaults(tmp_path):
    for name, node in schema()["$defs"]["makes"].items():
        more = {"rows": 3} if name == "self_instruct" else {}
        make = load(tmp_path, made(name, **more))["sources"]["new"]["make"]
        assert set(make) == set(node["properties"])
        assert make["limits"]["concurrency"] == 8
