"""Every fault of a config is told at once, a sentence each, before any job."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from broken_config import (
    ENDPOINT,
    GOOD,
    JUDGE,
    MEANING,
    assert_one_fault,
    cleaned,
    edited,
    faults,
    load,
    made,
)

from sftflow.config import load_config
from sftflow.configfile import ConfigFault, read_yaml
from sftflow.configschema import fill_defaults, schema

REPO = Path(__file__).parents[2]
SHIPPED = [REPO / "config/config.yaml", *sorted((REPO / "config/examples").glob("*.yaml"))]

BROKEN = {
    "unknown key": (
        edited(runs__talk_lora__training={"learnin_rate": 1e-4}),
        "runs.talk-lora.training.learnin_rate: unknown key; did you mean 'learning_rate'?",
    ),
    "unknown top key": (edited(run={}), "run: unknown key; did you mean 'runs'?"),
    "wrong type": (
        edited(runs__talk_lora__training={"learning_rate": "fast"}),
        "runs.talk-lora.training.learning_rate: must be a number or null, not 'fast'",
    ),
    "number in quotes": (
        edited(runs__talk_lora__training={"learning_rate": "2e-4"}),
        "'2e-4' is text, not a number or null; write it without quotes, as 0.0002",
    ),
    "yes": (edited(track_versions="yes"), "track_versions: 'yes' is text; write true or false"),
    "out of range": (
        edited(runs__talk_lora__training={"learning_rate": -1.0}),
        "learning_rate: -1.0 is out of range, must be more than 0",
    ),
    "rank 0": (edited(runs__talk_lora__lora={"r": 0}), "lora.r: 0 is out of range, must be at"),
    "alpha 0": (edited(runs__talk_lora__lora={"lora_alpha": 0}), "must be more than 0"),
    "epochs 0": (edited(runs__talk_lora__training={"num_train_epochs": 0}), "must be more than 0"),
    "unknown choice": (
        edited(runs__talk_lora__method="lorra"),
        "runs.talk-lora.method: 'lorra' is not known; did you mean 'lora'?",
    ),
    "missing key": (edited(runs={"a": {"base": "tiny"}}), "runs.a: 'dataset' is missing"),
    "dangling dataset": (
        edited(runs__talk_lora__dataset="tlak"),
        "runs.talk-lora.dataset: there is no dataset 'tlak'; did you mean 'talk'?",
    ),
    "dangling base": (edited(runs__talk_lora__base="large"), "there is no base 'large'"),
    "dangling suite": (edited(runs__talk_lora__suites=["gone"]), "there is no suite 'gone'"),
    "dangling source": (edited(datasets__talk={"sources": ["min"]}), "did you mean 'mine'?"),
    "name with capitals": (
        edited(runs={"Talk": {"base": "tiny", "dataset": "talk"}}),
        "runs: 'Talk' can't be a name",
    ),
    "name that leaves": (
        edited(runs={"../evil": {"base": "tiny", "dataset": "talk"}}),
        "runs: '../evil' can't be a name",
    ),
    "name with a space that nobody sees": (
        edited(runs={"a\u200b": {"base": "tiny", "dataset": "talk"}}),
        r"runs: 'a\u200b' can't be a name",
    ),
    "name with a line end": (
        edited(runs={"evil\n": {"base": "tiny", "dataset": "talk"}}),
        "can't be a name",
    ),
    "made base with code": (
        edited(bases__tiny__trust_remote_code=True),
        "bases.tiny.trust_remote_code: a made base brings no code",
    ),
    "name of two things": (
        edited(runs={"tiny": {"base": "tiny", "dataset": "talk"}}),
        "runs.tiny: a base has the same name",
    ),
    "circle": (
        edited(runs={"a": {"base": "b", "dataset": "talk"}, "b": {"base": "a", "dataset": "talk"}}),
        "go round in a circle",
    ),
    "no such file": (edited(sources__mine__path="gone.jsonl"), "there is no file, folder or match"),
    "two bases in one": (
        edited(bases__tiny__hub="a/b"),
        "bases.tiny: must have one of make, path and hub; it has make and hub",
    ),
    "no base at all": (edited(bases={"tiny": {}}), "it has nothing"),
    "unpinned hub": (edited(bases={"tiny": {"hub": "a/b"}}), "pin the commit of a/b"),
    "short revision": (
        edited(bases={"tiny": {"hub": "a/b", "revision": "main"}}),
        "bases.tiny.revision: 'main' is not a commit",
    ),
    "made base without template": (
        edited(bases={"tiny": {"make": {}}}),
        "a made base has no template of its own; choose chatml",
    ),
    "misspelt template": (edited(bases__tiny__template="chatlm"), "'chatlm' is not a template"),
    "variable of a template that none can be": (
        edited(bases__tiny__chat_template_kwargs={"enable thinking": False}),
        "chat_template_kwargs: 'enable thinking' can't be a template's variable",
    ),
    "value that no template takes": (
        edited(bases__tiny__chat_template_kwargs={"enable_thinking": [1]}),
        "chat_template_kwargs.enable_thinking: must be true or false or a number or text",
    ),
    "tag with its brackets": (
        edited(sources__mine__reasoning_tags=["<think>"]),
        "sources.mine.reasoning_tags[0]: '<think>' is no tag; write its name without < and >",
    ),
    "misspelt use of thinking": (
        edited(runs__talk_lora__reasoning="dropped"),
        "runs.talk-lora.reasoning: 'dropped' is not known; did you mean 'drop'?",
    ),
    "length over positions": (
        edited(runs__talk_lora__max_length=4096, bases__tiny__make={}),
        "4096 is more than the 1024 positions of base 'tiny'",
    ),
    "grid over positions": (
        edited(latency={"prompt_tokens": [1024]}),
        "is more than the 1024 tokens that 'tiny' takes",
    ),
    "a rate of nothing": (
        edited(latency={"rates": [4, 0]}),
        "latency.rates[1]: 0 is out of range, must be more than 0",
    ),
    "a limit by another name": (
        edited(latency={"slo": {"ttft": 200}}),
        "latency.slo.ttft: unknown key; did you mean 'ttft_ms'?",
    ),
    "fewer requests than under way": (
        edited(latency={"requests_per_cell": 2}),
        "latency.requests_per_cell: 2 is fewer than the 4 that latency.concurrency keeps",
    ),
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
    "empty sweep": (edited(runs__talk_lora__sweep={"lora.r": []}), "is empty"),
    "sweep over nothing": (
        edited(runs__talk_lora__sweep={"lora.rank": [1]}),
        "runs.talk-lora.sweep: 'lora.rank' is no key of a run",
    ),
    "sweep with a bad value": (
        edited(runs__talk_lora__sweep={"lora.r": [8, "big"]}),
        "lora.r: must be a whole number, not 'big'",
    ),
    "duplicate key": ("sources: {}\nsources: {}\n", "config.yaml:2: key 'sources' stands twice"),
    "tab": ("sources:\n\tmine: {}\n", "config.yaml:2: a tab stands where spaces must be"),
    "empty file": ("", "the file is empty"),
    "a list": ("- a\n", "must hold keys and values"),
    "object tag": ("sources: !!python/object/apply:os.system ['true']\n", "could not determine"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_fault_is_told_in_a_sentence(name, tmp_path):
    assert_one_fault(tmp_path, *BROKEN[name])


def test_all_faults_are_told_at_once(tmp_path):
    config = edited(
        runs__talk_lora__method="lorra", track_versions="no", runs__talk_lora__lora={"rank": 3}
    )
    assert len(faults(tmp_path, config)) == 3
    config["datasets"]["talk"]["sources"] = ["gone"]
    config["bases"]["tiny"]["template"] = "nice.jinja"
    told = faults(tmp_path, config)
    assert len(told) == 5, told


def test_the_good_one_is_good(tmp_path):
    run = load(tmp_path, GOOD)["runs"]["talk-lora"]
    assert run["lora"]["r"] == 16
    assert run["training"]["learning_rate"] == 0.0002


def test_every_cleaning_step_gets_its_defaults(tmp_path):
    names = schema()["$defs"]["step"]["properties"]["step"]["enum"]
    needed = {"language": {"languages": ["en", "no"]}, "judge": JUDGE}
    needed["semantic_duplicates"] = {"model": "owner/name", "revision": "0" * 40}
    steps = [{"step": name, **needed.get(name, {})} for name in names]
    for step in load(tmp_path, cleaned(*steps))["datasets"]["talk"]["clean"]:
        assert set(step) == set(schema()["$defs"]["steps"][step["step"]]["properties"])


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


def test_scalars_mean_what_a_person_means(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "a: 2e-4\nb: 010\nc: no\nd: 12:30\ne: 1.10\nf: true\ng:\nh: 2024-01-05\ni: -3\n"
    )
    assert read_yaml(path) == {
        "a": 2e-4,
        "b": 10,
        "c": "no",
        "d": "12:30",
        "e": 1.1,
        "f": True,
        "g": None,
        "h": "2024-01-05",
        "i": -3,
    }


def test_writing_defaults_out_changes_nothing():
    once = fill_defaults(copy.deepcopy(GOOD))
    assert fill_defaults(copy.deepcopy(once)) == once


def test_defaults_are_not_shared_between_runs(tmp_path):
    config = edited(runs={n: {**GOOD["runs"]["talk-lora"]} for n in ("a", "b")})
    runs = load(tmp_path, config)["runs"]
    runs["a"]["lora"]["r"] = 1
    assert runs["b"]["lora"]["r"] == 16


def test_a_sweep_becomes_named_runs(tmp_path):
    config = edited(
        runs__talk_lora__sweep={"lora.r": [8, 16], "training.learning_rate": [1e-4, 3e-4]}
    )
    runs = load(tmp_path, config)["runs"]
    assert list(runs) == [
        "talk-lora.r-8.learning_rate-0.0001",
        "talk-lora.r-8.learning_rate-0.0003",
        "talk-lora.r-16.learning_rate-0.0001",
        "talk-lora.r-16.learning_rate-0.0003",
    ]
    assert runs["talk-lora.r-16.learning_rate-0.0003"]["training"]["learning_rate"] == 3e-4


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_every_shipped_config_is_good(path):
    load_config([path])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"messages": [{"role": "user", "content": "q"}]}\n\n{"prompt": "q"}\n', "line 3 is not"),
        ('{"messages": []}\n', "messages must be a list"),
        ("{\n", "line 1 is not a prompt"),
        ("\n", "has no prompts"),
    ],
)
def test_a_prompt_file_is_read_before_anything_runs(tmp_path, text, said):
    (tmp_path / "prompts.jsonl").write_text(text)
    with pytest.raises(ConfigFault) as caught:
        load(tmp_path, edited(generation={"prompts": "prompts.jsonl"}))
    assert len(caught.value.faults) == 1
    assert "generation.prompts: " in caught.value.faults[0]
    assert said in caught.value.faults[0]


def test_gsm8k_is_two_lines_and_a_file(tmp_path):
    (tmp_path / "tasks").mkdir()
    shipped = REPO / "config/tasks/gsm8k_local.yaml"
    (tmp_path / "tasks/gsm8k_local.yaml").write_text(shipped.read_text())
    suite = {"folder": "tasks", "tasks": ["gsm8k_local"], "limit": 200}
    config = edited(suites={"gsm8k": suite}, runs__talk_lora__suites=["gsm8k"])
    said = f"suites.gsm8k.tasks: task gsm8k_local reads {tmp_path}/tasks/gsm8k_test.jsonl"
    assert_one_fault(tmp_path, config, said)
    (tmp_path / "tasks/gsm8k_test.jsonl").write_text('{"question": "1 + 1?", "answer": "#### 2"}')
    load(tmp_path, config)
    config["gates"] = {"rules": ["gsm8k_local.exact_match[flexible-extract] >= 0.3"]}
    load(tmp_path, config)
