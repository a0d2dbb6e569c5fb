"""The report in a real browser: drawn, quiet, offline, and deaf to planted scripts."""

import json

import browser
import pytest

import build_report
import summarize_results
from report_fixture import PLANTED, SPEC, write_results

pytestmark = pytest.mark.e2e

PLOTS = """() => Array.from(document.querySelectorAll('.plot'), (plot) => ({
    id: plot.id,
    drawn: plot.dataset.drawn === 'yes',
    marks: plot.querySelectorAll('svg :is(.mark-symbol, .mark-line, .mark-rect) path').length,
    width: plot.querySelector('svg')?.getBoundingClientRect().width ?? 0,
}))"""


TALLEST_ROW = """() => {
    document.querySelectorAll('details').forEach((one) => { one.open = true; });
    const rows = Array.from(document.querySelectorAll('tbody tr'));
    return Math.max(...rows.map((row) => row.getBoundingClientRect().height));
}"""


# Headers of one word that stand in several lines.
BROKEN_WORDS = """() => Array.from(document.querySelectorAll('thead th:not(.data)'))
    .filter((head) => /^\\w+$/.test(head.textContent.trim()))
    .filter((head) => {
        const text = document.createRange();
        text.selectNodeContents(head);
        return new Set(Array.from(text.getClientRects(), (line) => line.top)).size > 1;
    })
    .map((head) => head.textContent)"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = write_results(tmp_path_factory.mktemp("report") / "results")
    summary, html = results / "summary.csv", results / "report.html"
    common = ["--spec", json.dumps(SPEC), "--results", str(results)]
    summarize_results.main([*common, "--summary", str(summary)])
    build_report.main([*common, "--html", str(html)])
    return html


@pytest.mark.parametrize("width", [1280, 390])
def test_every_plot_is_drawn_without_a_word_on_the_console(page, width):
    with browser.visit(page, width) as seen:
        plots = seen.page.evaluate(PLOTS)
        wide = seen.page.evaluate("document.documentElement.scrollWidth")
        tallest = seen.page.evaluate(TALLEST_ROW)
    assert seen.faults == []
    assert tallest < 200  # a digest that breaks at each of its 64 characters
    assert seen.requests == [page.as_uri()]
    assert (
        len(plots) == 16
    )  # compared, paired, answer time, residuals, 3 x TTFT, 3 x TPOT, 4 versions, loss, tokens
    assert [p["id"] for p in plots if not p["drawn"] or not p["marks"]] == []
    assert all(100 < p["width"] <= width for p in plots)
    assert wide == width  # nothing sticks out on a phone


def test_a_plot_that_is_folded_away_is_drawn_when_opened(page, tmp_path):
    busy = "<head><script>window.requestIdleCallback = () => {}</script>"  # never idle
    parts = page.read_text().replace("<head>", busy, 1).split("<figure>", 1)
    rest = parts[1].replace("</figure>", "</figure></details>", 1)
    folded = tmp_path / "report.html"
    folded.write_text(f"{parts[0]}<details><summary>more</summary><figure>{rest}")
    with browser.visit(folded) as seen:
        at_first = seen.page.evaluate(PLOTS)
        seen.page.click("summary:text-is('more')")
        seen.page.wait_for_function("() => document.querySelector('.plot').dataset.drawn === 'yes'")
        width = seen.page.evaluate("document.querySelector('.plot svg').clientWidth")
    assert seen.faults == []
    assert [p["id"] for p in at_first if not p["drawn"]] == [at_first[0]["id"]]
    assert width > 100


def test_planted_markup_is_shown_and_did_not_run(page):
    with browser.visit(page) as seen:
        counted = seen.page.evaluate(
            "[document.images.length, document.querySelectorAll('script:not([type])').length]"
        )
        title, text = seen.page.title(), seen.page.inner_text("body")
    assert counted == [0, 2]
    assert PLANTED in title
    assert PLANTED in text
    assert seen.faults == []


def test_a_script_that_got_in_would_be_refused(page, tmp_path):
    """The policy is a second wall: a page with an injected script reports it and doesn't run it."""
    evil = "<script>document.title = 'ran'</script>"
    broken = tmp_path / "report.html"
    broken.write_text(page.read_text().replace("</main>", evil + "</main>"))
    with browser.visit(broken) as seen:
        title = seen.page.title()
    assert title != "ran"
    assert any("Content Security Policy" in fault for fault in seen.faults)


def test_search_leaves_matching_samples(page):
    with browser.visit(page) as seen:
        seen.page.fill("#search", "ROUTER invoice")
        shown = seen.page.evaluate(
            "Array.from(document.querySelectorAll('.sample:not([hidden])'), (n) => n.textContent)"
        )
        told = seen.page.inner_text("#found")
        seen.page.fill("#search", "")
        everything = seen.page.locator(".sample:not([hidden])").count()
    assert 0 < len(shown) < everything == 12
    assert all("invoice" in text for text in shown)
    assert told == f"{len(shown)} of 12"


def test_a_tooltip_shows_markup_as_text(page):
    with browser.visit(page) as seen:
        dot = seen.page.locator("#plot-compared-1 .mark-symbol path").first
        dot.hover()
        tip = seen.page.locator("#vg-tooltip-element")
        tip.wait_for(state="visible")
        text, elements = tip.inner_text(), tip.locator("script, img").count()
    assert "exact_match" in text
    assert elements == 0
    assert seen.faults == []


def test_paper_and_dark(page, tmp_path):
    browser.print_pdf(page, tmp_path / "report.pdf")
    browser.screenshot(page, tmp_path / "dark.png", dark=True)
    assert (tmp_path / "report.pdf").read_bytes()[:4] == b"%PDF"
    assert (tmp_path / "dark.png").stat().st_size > 50_000


def test_nothing_is_wider_than_paper(page):
    """What sticks out makes Chromium print the whole page smaller."""
    with browser.visit(page, width=703) as seen:  # A4 less its margins
        seen.page.wait_for_function(browser.FOLDED, timeout=90_000)
        seen.page.emulate_media(media="print")
        seen.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        wide = seen.page.evaluate("document.documentElement.scrollWidth")
        broken = seen.page.evaluate(BROKEN_WORDS)
    assert wide == 703
    assert broken == []


def test_the_keyboard_reaches_what_the_mouse_does_and_shows_where_it_is(page):
    where = """() => {
        const [at, style] = [document.activeElement, getComputedStyle(document.activeElement)];
        return [at.id || at.tagName, `${style.outlineStyle} ${style.outlineWidth}`];
    }"""
    with browser.visit(page) as seen:
        reached = []
        while not reached or reached[-1][0] != "BODY":  # which the last of all is followed by
            seen.page.keyboard.press("Tab")
            reached.append(seen.page.evaluate(where))
        folds = seen.page.locator("details").first
        folds.locator("summary").first.focus()
        seen.page.keyboard.press("Enter")
        opened = folds.evaluate("node => node.open")
    assert {shown for _, shown in reached[:-1]} == {"solid 2px"}
    assert {"A", "SUMMARY", "search"} <= {name for name, _ in reached}
    assert opened


def test_a_missing_browser_is_named_with_its_package(page, monkeypatch, tmp_path):
    monkeypatch.setattr(browser, "CHROMIUM", tmp_path / "chromium")
    with pytest.raises(FileNotFoundError, match="Debian package 'chromium'"):
        with browser.visit(page):
            pass
