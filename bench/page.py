"""How long the report takes to open in headless Chromium: `python bench/page.py [PAGE ...]`.

From the start of loading to the plots of the first two screens, and to the last that is not
folded away, beside a page of one plot
with the same Vega in it, opened in turn with it, as the machine's own measure. Without a page,
the one that the tests make: four models, all sections, 16 plots.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import altair
import pandas as pd

REPO = Path(__file__).parents[1]
sys.path[:0] = [str(REPO / "tests"), str(REPO / "tests/e2e"), str(REPO / "scripts")]

import browser  # noqa: E402

import build_report  # noqa: E402
import summarize_results  # noqa: E402
from report_fixture import SPEC, write_results  # noqa: E402

# What browser.visit waits for, said by Altair's own page once its plot is there.
SAYS_SO = (
    "<script>new MutationObserver(() => document.querySelector('svg') && "
    "(document.documentElement.dataset.drawn = 'all'))"
    ".observe(document.documentElement, {childList: true, subtree: true})</script>"
)


def test_page(folder: Path) -> Path:
    """Write the page of the tests."""
    results = write_results(folder / "results")
    summary, html = results / "summary.csv", results / "report.html"
    common = ["--spec", json.dumps(SPEC), "--results", str(results)]
    summarize_results.main([*common, "--summary", str(summary)])
    build_report.main([*common, "--html", str(html)])
    return html


def one_plot(folder: Path) -> Path:
    """Write a page of one plot, Vega in it."""
    frame = pd.DataFrame({"x": range(30), "y": [value**2 for value in range(30)]})
    chart = altair.Chart(frame).mark_line().encode(x="x", y="y")
    html = chart.to_html(inline=True, embed_options={"renderer": "svg"})
    page = folder / "one-plot.html"
    page.write_text(html.replace("<head>", "<head>" + SAYS_SO, 1), encoding="utf-8")
    return page


def opened_s(page: Path) -> tuple[float, float]:
    """Return the time from the start of loading to the first plots, and to the last (s)."""
    with browser.visit(page) as seen:
        if seen.faults:
            raise SystemExit(f"{page}: {seen.faults}")
        return seen.near_s, seen.opened_s


def main() -> None:
    """Measure each page, in turn with the page of one plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        beside = one_plot(Path(folder))
        for page in args.pages or [test_page(Path(folder))]:
            pairs = [(opened_s(page), opened_s(beside)[1]) for _ in range(args.repeats)]
            near, last = (statistics.median(p[0][i] for p in pairs) for i in (0, 1))
            theirs = statistics.median(p[1] for p in pairs)
            sys.stdout.write(
                f"{page.name}, {page.stat().st_size / 1e6:.2f} MB: {near:.2f} s to the first "
                f"plots, {last:.2f} s to the last (at most {max(p[0][1] for p in pairs):.2f}); a "
                f"page of one plot beside it {theirs:.2f} s, ratios {near / theirs:.1f} and "
                f"{last / theirs:.1f}\n"
            )


if __name__ == "__main__":
    main()
