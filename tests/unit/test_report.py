import base64
import hashlib
import json
import re
import shutil

import pytest
import yaml
from lxml import html

import build_report
import summarize_results
from report_fixture import PLANTED, SPEC, write_results
from sftflow import judgements, lineage, modelcolors, plots, report, samples, speed, verdicts
from sftflow.comparison import Comparison
from sftflow.pagetemplates import breakable
from sftflow.stage import StageError
from sftflow.summary import Measurement


def built(results, spec=SPEC):
    summary, page = results / "summary.csv", results / "report.html"
    common = ["--spec", json.dumps(spec), "--results", str(results)]
    summarize_results.main([*common, "--summary", str(summary)])
    build_report.main([*common, "--html", str(page)])
    return page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return write_results(tmp_path_factory.mktemp("report") / "results")


@pytest.fixture(scope="module")
def page(results):
    return built(results)


def visible(page):
    tree = html.fromstring(page.replace("<wbr>", ""))
    for node in tree.xpath("//script | //style"):
        node.getparent().remove(node)
    return " ".join(" ".join(tree.itertext()).split())


def test_text_from_data_is_text_and_never_markup(page):
    tree = html.fromstring(page)
    assert tree.xpath("//img | //iframe | //link | //object | //base") == []
    kinds = [node.get("type") for node in tree.xpath("//script")]
    assert kinds.count(None) == 2  # the library and the page's own
    assert set(kinds) == {None, "application/json"}
    assert not [name for node in tree.iter() for name in node.attrib if name.startswith("on")]
    assert visible(page).count(PLANTED) > 5


def test_plots_and_headers_say_what_they_are_to_who_does_not_see_them(page):
    tree = html.fromstring(page)
    headers, drawn = tree.xpath("//th"), tree.xpath("//div[@class='plot']")
    assert headers and drawn
    assert [h.text_content() for h in headers if not h.get("scope") or not h.text_content()] == []
    for plot in drawn:
        caption = plot.getparent().xpath("./figcaption")[0].text_content()
        assert plot.get("role") == "img" and plot.get("aria-label") == caption != ""


EMPTY = {
    "title": "t",
    "verdicts": [],
    "overview": [],
    "headline_name": "",
    "compared": [],
    "in_context": [],
    "forms": [],
    "opinions": {"judged": [], "people": []},
    "speed": {key: [] for key in ("fits", "plots", "fit_plot", "cells", "setup", "models")}
    | {"warnings": [], "own_lengths": [], "rates": [], "servers": [], "limits": {}}
    | {"residual_plot": None, "by_prompt": []},
    "answers": {"removed": False, "samples": []},
    "runs": [],
    "searches": [],
    "many_runs": False,
    "curves": [],
    "preferences": [],
    "checkpoints": [],
    "data": [],
    "versions": [],
    "digests": [],
    "limits": {},
    "cut_answers": [],
    "folded": False,
    "colors": {},
    "absent": [],
    "ships": {},
    "paired": {},
    "other_pairs": [],
    "tags": {},
    "before": [],
    "ways": [],
    "config": "",
}


def test_markup_in_plot_data_can_not_end_its_block():
    rows = [{"model": PLANTED, "measure": "</script>", "value": 1, "low": None, "high": None}]
    chart = plots.metric_dots(rows, {PLANTED: "#000"})
    context = {
        **EMPTY,
        "plots": {"p": chart},
        "curves": [{"plot": "p", "caption": PLANTED, "key": []}],
    }
    tree = html.fromstring(report.render(context))
    (island,) = tree.xpath("//script[@data-plot]")
    assert PLANTED in json.dumps(json.loads(island.text))
    assert tree.xpath("//img") == []


def test_the_policy_allows_the_two_scripts_by_digest_and_nothing_else(page):
    tree = html.fromstring(page)
    (policy,) = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in rules["script-src"]
    scripts = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert not re.search(
        r"""(src|href)=["']?(https?:)?//""", re.sub(r"<script.*?</script>", "", page)
    )


def test_the_first_screen_answers_better_worse_and_how_fast(page):
    text = visible(page)
    assert "support is better than tiny on 8 of 10 measures, worse on 2." in text
    # 2.64 - 2.31 = 0.33; 0.33 / (0.02 * sqrt(2)) = 11.7
    assert "its loss on general rose from 2.31 to 2.64 (11.7 standard errors), which is" in text
    assert "First token, 128 tokens of prompt 19.8 ms tiny: 19.5 ms" in text
    assert "It may not ship: it fails 1 of 2 gates." in text
    assert f"general_cloze.acc went from 0.610 to 0.480 {PLANTED}" in text


def test_the_runs_of_a_sweep_stand_in_a_table(page):
    text = visible(page)
    assert "Sweep support 1 run; the lowest validation loss is that of support" in text
    assert "Run lora.r Validation loss Verdict Steps support best 8" in text


def test_what_turned_row_by_row_is_told_beside_the_measures(page):
    text = visible(page)
    # 40 rows; all but the 2 that the start model shares its answers on turned right
    assert "38 rows are better than before, 0 are worse." in text
    assert "2 of 40 answers are word for word those of tiny" in text
    assert "by tag: 2 tags" in text


def test_losses_of_rows_carry_their_reasons(page):
    text = visible(page)
    # 2500 raw - (1788 + 110 + 200) = 402
    assert "402 of 2,500 rows did not reach training, validation or test" in text
    assert "cleaning, exact_duplicates duplicate 240 9.6%" in text
    assert "8 overlong" in text
    assert "same token at 99.98% of 4,096 positions" in text
    assert "187 of 200 answers of tiny were cut off at the token limit" in text


def test_a_healthy_training_has_its_badge_and_no_advice(page):
    tree = html.fromstring(page)
    assert tree.xpath("//td/span[contains(@class, 'is-better')]/text()") == ["healthy"]
    (said, note) = (" ".join(item.itertext()) for item in tree.xpath("//ul[@class='judged']/li"))
    assert "Training loss went from 2.2 to 0.0867." in said
    assert "last loss 0.087 · best step 330" in " ".join(said.split())
    assert "Nothing to change" not in said and "not known" not in said
    assert PLANTED in note
    assert "Training:" not in visible(page)


OVERFIT = {
    "run": "support",
    "verdicts": [
        {
            "name": "did_nothing",
            "sentence": f"The losses are the same {PLANTED}.",
            "advice": "Raise training.learning_rate.",
            "evidence": {"largest_change": 0.0012},
        }
    ],
    "notes": [],
    "best_step": 110,
    "turned_at": 110,
}


def test_a_faulty_training_is_told_on_the_first_screen_and_marked_in_its_curve(results, page):
    path = results / "runs/support/verdicts.json"
    before = path.read_text()
    path.write_text(json.dumps(OVERFIT))
    faulty = built(results)
    path.write_text(before)
    text = visible(faulty)
    assert f"Training: did nothing. The losses are the same {PLANTED}." in text
    assert "Raise training.learning_rate." in text
    assert r"validation loss rises\nfrom step 110" in faulty
    assert r"lowest validation loss\nat step 330" in page


def test_answers_of_a_training_are_shown_as_text(results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "results")
    (folder / "runs/support/samples").mkdir(exist_ok=True)
    said = {"step": 330, "set": "prompts", "id": PLANTED, "prompt": PLANTED, "reference": None}
    said |= {"answer": PLANTED, "finish_reason": "stop", "completion_tokens": 9}
    (folder / "runs/support/samples/answers.jsonl").write_text(json.dumps(said) + "\n")
    made = report.page(folder, SPEC, [])
    assert "Answers while support was trained" in made
    assert "How answers changed: 1 prompt<" in made
    assert PLANTED not in made


def test_verdicts_of_another_shape_are_refused(tmp_path):
    folder = tmp_path / "runs/r"
    folder.mkdir(parents=True)
    (folder / "verdicts.json").write_text("{}")
    with pytest.raises(StageError, match="does not have the shape of judge_run"):
        judgements.judgements(tmp_path, ["r", "not there"])


def test_the_page_is_the_same_for_the_same_results_and_small(results, page):
    assert built(results) == page
    assert len(page.encode()) < 5_000_000


def test_nothing_measured_is_said_and_never_0(tmp_path):
    text = visible(built(tmp_path))
    assert "support could not be compared with tiny." in text
    assert "Not measured." in text
    assert "eval/support/latency.json" in text
    assert "0.000" not in text


def test_samples_can_be_left_out(results):
    text = built(results, {**SPEC, "redact_samples": True})
    assert "Texts are left out" in text
    assert "my router order" not in text


def test_many_runs_are_ranked_and_told_in_a_table(results):
    models = [SPEC["models"][0]]
    models += [{**SPEC["models"][1], "name": f"run-{i}", "base": "tiny"} for i in range(8)]
    rows = [{"step": 1, "loss": 1.0, "curve": "validation", "run": f"run-{i}"} for i in range(8)]
    runs = {f"run-{i}": {} for i in range(8)}
    measured = {f"run-{i}": "#123456" for i in range(7)}  # the eighth is only trained
    said, drawn = report.curve_section(dict.fromkeys(runs, rows), measured, {}, {"runs": runs})
    assert list(drawn) == ["plot-loss-all"]
    assert said[0]["key"][-1] == ("1 more", modelcolors.OTHER_COLOR)
    spec = {**report.DEFAULTS, "models": models}
    compared = verdicts.comparisons([], models)
    said = report.first_screen(spec, compared, list(compared), [], {}, {})
    assert [v["model"] for v in said["verdicts"]] == ["run-0"]
    assert len(said["overview"]) == 9


def test_of_many_models_the_best_keep_their_colours():
    names = [f"run-{i:02}" for i in range(12)]
    models = [{"name": "start", "kind": "base"}, *({"name": n, "kind": "tuned"} for n in names)]
    colors = modelcolors.model_colors(models)
    assert modelcolors.told_apart(colors, names[:10]) == colors
    best_first = names[::-1]
    told = modelcolors.told_apart(colors, best_first)
    assert [told[name] for name in best_first[:10]] == list(plots.TUNED_COLORS)
    assert told["start"] == plots.BASE_COLORS[0]
    assert told["run-00"] == told["run-01"] == modelcolors.OTHER_COLOR
    assert [name for name, _ in modelcolors.color_key(told)] == ["start", *names[2:], "2 more"]


def test_the_first_screen_has_no_digest():
    key = ("loss", "validation.my.set.tiny.0a1b2c3d")
    told = Comparison(*key, None, Measurement("m", "tuned", *key, 0.5), "missing")
    assert verdicts.measure_name(told) == "Loss on validation rows (my.set.tiny)"


def test_a_remark_on_many_measurements_is_made_once():
    said = {f"m{i}": {"warnings": ["1 cell drifted"]} for i in range(4)}
    said["m0"] = {"warnings": ["1 cell drifted", "the server was slow"]}
    assert speed._warnings(said) == ["4 models: 1 cell drifted.", "m0: the server was slow."]


def test_names_may_be_broken_where_their_parts_end_and_are_still_escaped():
    assert breakable("a.b_c<") == "a.<wbr>b_<wbr>c&lt;"


def test_answers_are_cut_and_unshowable_characters_replaced():
    assert samples.showable("a\x1b]0;x\x07b\u202ec\ud83d") == "a\ufffd]0;x\ufffdb\ufffdc\ufffd"
    assert samples.showable("two\tand\nthree") == "two\tand\nthree"
    assert samples.showable("x" * 700, 600) == "x" * 600 + " [+100 characters]"


def test_samples_are_spread_evenly():
    assert samples.spread(10, 5) == [0, 2, 4, 6, 8]
    assert samples.spread(3, 5) == [0, 1, 2]


def test_load_goodput_and_the_server_are_on_the_page(page):
    text = visible(page)
    assert "support: 2 requests/s is the highest rate measured that was served within" in text
    assert "8.5 falls behind" in text
    assert (
        "Good is the share of requests, and how many per second, within TTFT ≤ 30 ms, all" in text
    )
    assert "21.5 3,406 – 174,720 8 requests off" in text  # start, memory, no GPU, cache


def test_the_share_of_longer_answers_is_said(page):
    # lengths 64 and 27: (3.92 + 3.95) / 2 * -37 = -145.6; 0.3 + 0.03 * 45.5 = 1.665
    said = "of the speed-up comes from shorter answers (27.0 tokens instead of 64.0): −146 ms"
    assert said in visible(page)


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("eval/tiny/generations.jsonl", '{"set": "a"}\n', "generations.jsonl"),
        ("eval/tiny/generations.jsonl", "{\n", "line 1"),
        ("runs/support/history.csv", "step,loss\n1,low\n", "line 2"),
        ("sources/crm/manifest.json", "{}", "sources/crm/manifest.json"),
    ],
)
def test_a_malformed_file_stops_with_its_name(tmp_path, path, text, said):
    results = write_results(tmp_path)
    (results / path).write_text(text)
    with pytest.raises(StageError, match=re.escape(said)):
        built(results)


def test_settings_are_flat_and_readable():
    nested = {"lora": {"r": 8, "modules": ["q", "v"]}, "on": True, "none": None, "empty": {}}
    assert lineage.flat_settings(nested) == [
        ("lora.r", "8"),
        ("lora.modules", "q, v"),
        ("on", "yes"),
        ("none", "–"),
    ]


def test_models_are_ranked_by_their_headline():
    def measured(model, value, metric="t.exact_match", group="scores"):
        return Measurement(model, "tuned", group, metric, value, 0.01, 100)

    models = [{"name": n, "kind": "tuned", "base": "b"} for n in ("x", "y", "z")]
    rows = [measured("b", 0.1), measured("x", 0.5), measured("y", 0.9)]
    assert verdicts.ranking(verdicts.comparisons(rows, models), None) == ["y", "x", "z"]
    losses = [measured(m, v, "text.a", "loss") for m, v in (("b", 3), ("x", 1), ("y", 2))]
    assert verdicts.ranking(verdicts.comparisons(losses, models), None) == ["x", "y", "z"]


def test_prompts_of_several_turns_name_who_speaks():
    call = {"function": {"name": "weather", "arguments": {"city": "Köln"}}}
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    said = samples.prompt_text({"messages": turns})
    assert said.startswith("system: Be brief.\nuser: Rain?\nassistant: [{")
    assert "Köln" in said
    assert samples.prompt_text({"messages": turns[1:2]}) == "Rain?"


@pytest.mark.parametrize(
    ("better", "worse", "same", "expected"),
    [
        (8, 2, 1, "t is better than b on 8 of 11 measures, worse on 2."),
        (4, 0, 0, "t is better than b on all 4 measures."),
        (4, 0, 1, "t is better than b on 4 of 5 measures and worse on none."),
        (0, 3, 1, "t is worse than b on 3 of 4 measures and better on none."),
        (0, 2, 0, "t is worse than b on all 2 measures."),
        (0, 0, 5, "t does not differ from b on any of 5 measures."),
        (0, 0, 0, "t could not be compared with b."),
    ],
)
def test_the_verdict_is_one_sentence(better, worse, same, expected):
    counts = {"better": better, "worse": worse, "same": same}
    assert verdicts.sentence("t", "b", counts) == expected


@pytest.mark.parametrize(
    ("counts", "rest"),
    [
        ({"better": 11, "worse": 1, "same": 4}, " The rest: 4 within noise."),
        ({"better": 1, "missing": 2}, " The rest: 2 not measured on both."),
        ({"same": 5}, ""),
        ({"same": 5, "unsure": 1}, " Besides: 1 without a known error (not counted)."),
    ],
)
def test_the_remark_says_what_the_sentence_leaves_out(counts, rest):
    said = verdicts.remark({"better": 0, "worse": 0, "same": 0, "unsure": 0, "missing": 0} | counts)
    assert said == f"A difference counts when it is beyond what chance would make of it.{rest}"


def test_a_file_beside_its_manifests_folder_is_named_by_its_place():
    outputs = {"../rejected.parquet": {"bytes": 1, "sha256": "0"}}
    (said,) = lineage.digests({"datasets/d/cleaned": {"outputs": outputs}})
    assert said["path"] == "datasets/d/rejected.parquet"


def test_the_way_to_each_model_and_the_config_stand_on_the_page(page, results):
    tree = html.fromstring(page)
    ways = [
        [(step[0].text_content(), step[1].text_content()) for step in way]
        for way in tree.xpath("//ol[@class='way']")
    ]
    assert ways == [
        [("model", "tiny")],
        [
            *(("source", "crm"), ("source", "mail"), ("dataset", "tickets")),
            *(("tokens", "tickets.tiny.0a1b2c3d"), ("start model", "tiny")),
            *(("training", "support"), ("model", "support")),
        ],
    ]
    assert len(set(tree.xpath("//ol[@class='way']/li/code/text()"))) == 7
    (config,) = tree.xpath("//section[@id='origin']/details/pre")
    said = yaml.safe_load(config.text_content())
    assert said["title"] == SPEC["title"]
    assert said["datasets"]["tickets"] == {"sources": ["crm", "mail"]}
    assert said["gates"] == SPEC["gates"]
