"""A run that is served merged, as an adapter and quantised, beside each other on the page."""

import copy
import json
import shutil

import pytest
from lxml import html

import build_report
import summarize_results
from report_fixture import SPEC, write_results
from sftflow.formsection import form_tables
from sftflow.summary import Measurement

ADAPTER, EXPORT = "support+adapter", "support+w8a8"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the page of results in which all forms answer as the merged model does."""
    results = write_results(tmp_path_factory.mktemp("forms") / "results")
    shutil.copytree(results / "eval/support", results / f"eval/{ADAPTER}")
    latency = results / f"eval/{ADAPTER}/latency.json"
    said = json.loads(latency.read_text())
    said["footprint"]["start_s"] = 43.0
    latency.write_text(json.dumps(said))
    spec = copy.deepcopy(SPEC)
    spec["models"].append({**spec["models"][1], "name": ADAPTER, "form": "adapter"})
    for folder in ("eval", "models"):
        shutil.copytree(results / folder / "support", results / folder / EXPORT)
    spec["models"].append({**spec["models"][1], "name": EXPORT, "form": "w8a8"})
    spec["comparisons"].append([ADAPTER, "support"])
    against = json.loads((results / "eval/support/against/tiny.json").read_text())
    against |= {"model": ADAPTER, "against": "support"}
    against["answers"] = {"tickets": {"n": 40, "identical": 39}}
    (results / f"eval/{ADAPTER}/against/support.json").write_text(json.dumps(against))
    common = ["--spec", json.dumps(spec), "--results", str(results)]
    summarize_results.main([*common, "--summary", str(results / "summary.csv")])
    build_report.main([*common, "--html", str(results / "report.html")])
    return html.fromstring((results / "report.html").read_text(encoding="utf-8"))


def cells(page):
    """Return measure -> its cells of the section of forms."""
    found = {}
    for row in page.xpath("//section[@id='forms']//tbody/tr[td]"):
        name, *values = (" ".join("".join(cell.itertext()).split()) for cell in row)
        found[name] = values
    return found


def test_the_forms_stand_beside_each_other(page):
    found = cells(page)
    (titles,) = page.xpath("//section[@id='forms']//thead/tr")
    forms, differences = ["merged", "adapter", "w8a8"], ["adapter − merged", "w8a8 − merged"]
    assert [cell.text for cell in titles] == ["Measure", *forms, *differences]
    exact = found["tickets.exact_match (scores)"]
    assert exact[:3] == ["0.965 ± 0.013"] * 3
    assert found["b (ms)"][0].startswith("13.4")
    assert found["start of the server (s)"] == ["21.5", "43.0", "21.5", "+21.5", "±0.000"]
    assert "first token (ms, median) [p128,o64,c1]" in found
    # 9 bytes of weights each, as the fixture's manifests have it
    assert "weights on disk (MiB)" in found
    text = " ".join(page.xpath("//section[@id='forms']")[0].itertext())
    said = "adapter: 39 of 40 answers to tickets are word for word those of merged."
    assert said in " ".join(text.split())


def test_the_adapter_has_the_verdict_of_its_run_and_lacks_nothing(page):
    assert page.xpath("//h3[text()='Not there when this page was made']") == []
    names = [node.text for node in page.xpath("//div[@class='verdict']/*[1]")]
    assert len(names) == 3 and any(name.startswith(f"{ADAPTER} is better") for name in names)


def test_a_further_form_is_a_further_column():
    """The merged model, its adapter and two exports; the last has no comparison yet."""
    forms = {"r": {}, "r+adapter": {"form": "adapter"}, "r+w8a8": {"form": "w8a8"}}
    forms["r+w4a16"] = {"form": "w4a16"}
    models = [{"name": name, "kind": "tuned", "run": "r", **form} for name, form in forms.items()]
    rows = [measured(name, "t.f1", place / 4) for place, name in enumerate(forms)]
    sizes = {"r": 4000, "r+w8a8": 1000, "r+w4a16": 500}
    known = {f"models/{name}": weights_of(size) for name, size in sizes.items()}
    known["runs/r"] = weights_of(100)
    said = {"answers": {"t": {"identical": 3, "n": 4}}, "measures": []}
    against = {("r+w8a8", "r"): said, ("r+w8a8", "tiny"): {"answers": {}, "measures": []}}
    (table,) = form_tables(models, rows, against, known)
    assert table["forms"] == ["merged", "adapter", "w8a8", "w4a16"]
    assert table["answers"] == [("w8a8", "t", 3, 4)]
    found = {row["name"]: row for _, part in table["groups"] for row in part}
    assert [m.value for m in found["t.f1 (scores)"]["values"]] == [0, 0.25, 0.5, 0.75]
    assert found["t.f1 (scores)"]["paired"] == [None, None, None]
    assert [m.value * 2**20 for m in found["weights on disk (MiB)"]["values"]] == [
        *(4000, 100, 1000, 500)
    ]


def weights_of(size):
    return {"outputs": {"model.safetensors": {"bytes": size}, "config.json": {"bytes": 7}}}


def measured(model, metric, value):
    return Measurement(model, "tuned", "scores", metric, value)


def test_a_run_of_one_form_has_no_table():
    models = [{"name": "r", "kind": "tuned", "run": "r"}, {"name": "b", "kind": "base"}]
    assert form_tables(models, [measured("r", "t.f1", 0.5)], {}, {}) == []


def test_what_one_form_lacks_is_not_made_up():
    models = [{"name": "r", "kind": "tuned", "run": "r"}]
    models.append({"name": "r+adapter", "kind": "tuned", "run": "r", "form": "adapter"})
    rows = [measured("r", "t.f1", 0.5), measured("r+adapter", "t.bleu", 3.0)]
    (table,) = form_tables(models, rows, {}, {})
    said = {row["name"]: row["values"] for _, part in table["groups"] for row in part}
    assert said == {"t.f1 (scores)": [rows[0], None], "t.bleu (scores)": [None, rows[1]]}
