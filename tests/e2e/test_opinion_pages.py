"""The scoring sheet and the page's part about opinions, in a real browser."""

import json

import browser
import pytest

import build_report
import make_sheet
import read_sheets
import summarize_results
from opinion_fixture import OPINIONS, write_opinions
from report_fixture import PLANTED
from sftflow.sheets import CRITERIA

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = write_opinions(tmp_path_factory.mktemp("opinions") / "results")
    common = ["--spec", json.dumps(OPINIONS), "--results", str(folder)]
    summarize_results.main([*common, "--summary", str(folder / "summary.csv")])
    build_report.main([*common, "--html", str(folder / "report.html")])
    return folder


@pytest.mark.parametrize("width", [1280, 390])
def test_the_plots_are_drawn_and_nothing_sticks_out(results, width):
    with browser.visit(results / "report.html", width) as seen:
        drawn = seen.page.evaluate(
            "Array.from(document.querySelectorAll('#opinions .plot'), (p) => p.dataset.drawn)"
        )
        wide = seen.page.evaluate("document.documentElement.scrollWidth")
    assert seen.faults == []
    assert drawn == ["yes", "yes"]
    assert wide == width


def test_a_sheet_is_filled_kept_saved_and_read_back(results, tmp_path):
    made = [tmp_path / name for name in ("sheet.html", "sheet.csv", "key.json")]
    spec = {"sheet": "s", "title": PLANTED, "models": ["tiny", "support"], "rows": 2, "seed": 0}
    argv = ["--spec", json.dumps({**spec, "show_reference": True}), "--answers"]
    argv += [str(results / f"eval/{model}/generations.jsonl") for model in spec["models"]]
    for name, path in zip(("html", "csv", "key"), made, strict=True):
        argv += [f"--{name}", str(path)]
    make_sheet.main(argv)
    with browser.visit(made[0], 390, accept_downloads=True) as seen:
        page = seen.page
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator("#progress").inner_text() == "0 of 4 answers scored"
        first = page.locator("article").first
        for criterion in CRITERIA:
            first.locator(f"fieldset[data-criterion={criterion}] input[value='4']").check()
        first.locator(".comment").fill('=1+1, "so"\nso')
        second = page.locator("article").nth(1).locator("fieldset input[value='2']").first
        second.check()
        second.click()  # taken back
        page.click("#save-csv")
        assert "name first" in page.locator("#progress").inner_text()
        page.fill("#rater", "Ann Öz")
        page.reload()
        assert page.locator("#progress").inner_text() == "1 of 4 answers scored"
        assert page.input_value("#rater") == "Ann Öz"
        filled = []
        for end in ("csv", "json"):
            with page.expect_download() as download:
                page.click(f"#save-{end}")
            filled.append(tmp_path / download.value.suggested_filename)
            download.value.save_as(filled[-1])
    assert seen.faults == []
    assert {path.suffix for path in filled} == {".csv", ".json"}
    for path in filled:
        spec = {"sheet": "s", "filled": [str(path)], "models": ["tiny", "support"], "pairs": []}
        out = tmp_path / "ratings.json"
        read_sheets.main(["--spec", json.dumps(spec), "--key", str(made[2]), "--ratings", str(out)])
        said = json.loads(out.read_text())
        assert (said["raters"], said["ratings"]) == (["Ann Öz"], 1)
        (scored,) = [m for m, c in said["models"].items() if c["safety"]["n"]]
        assert all(said["models"][scored][c]["value"] == 4 for c in CRITERIA)
