"""A real browser for the pages: Chromium of the distribution, driven by playwright.

As a program: ``python tests/e2e/browser.py PAGE.html OUT.png [width [height]]`` (OUT.pdf
prints the page).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Plots that are folded away are drawn later.
FOLDED = "() => document.documentElement.dataset.folded === 'drawn' || !document.scripts.length"
# A page without a script draws nothing by itself: its pictures are there once it is loaded.
NEAR = "() => document.documentElement.dataset.drawn || !document.scripts.length"
DRAWN = (
    "() => document.documentElement.dataset.drawn === 'all' || "
    "(!document.scripts.length && document.readyState === 'complete')"
)


@dataclass
class Visit:
    """An open page, what went wrong on it and what it asked the network for."""

    page: object
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    near_s: float = 0.0  # from the start of loading to the plots of the first two screens
    opened_s: float = 0.0  # to the last plot


@contextmanager
def visit(html: Path | str, width: int = 1280, height: int = 900, **context) -> Iterator[Visit]:
    """Open a file as a person would and wait until every plot is drawn or given up."""
    if not CHROMIUM.exists():
        raise FileNotFoundError(
            f"{CHROMIUM} is missing; install the Debian package 'chromium' "
            "(apt-get install chromium)"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        page = browser.new_page(viewport={"width": width, "height": height}, **context)
        seen = Visit(page)
        page.on(
            "console",
            lambda m: m.type in ("error", "warning") and seen.faults.append(f"{m.type}: {m.text}"),
        )
        page.on("pageerror", lambda error: seen.faults.append(f"page error: {error}"))
        page.on("dialog", lambda d: (seen.faults.append(f"dialog: {d.message}"), d.dismiss()))
        page.on("request", lambda request: seen.requests.append(request.url))
        start_s = time.monotonic()
        page.goto(Path(html).resolve().as_uri(), timeout=90_000)  # of a busy machine
        page.wait_for_function(NEAR, timeout=90_000)
        seen.near_s = time.monotonic() - start_s
        page.wait_for_function(DRAWN, timeout=90_000)
        seen.opened_s = time.monotonic() - start_s
        try:
            yield seen
        finally:
            browser.close()


def screenshot(
    html: Path | str,
    png: Path | str,
    width: int = 1280,
    height: int = 900,
    *,
    full: bool = True,
    dark: bool = False,
    scale: float = 1,
) -> None:
    """Write a picture of the page, all of it or the first screen."""
    scheme = "dark" if dark else "light"
    with visit(html, width, height, color_scheme=scheme, device_scale_factor=scale) as seen:
        seen.page.screenshot(path=str(png), full_page=full)


def print_pdf(html: Path | str, pdf: Path | str) -> None:
    """Write what the page looks like on A4 paper."""
    with visit(html) as seen:
        seen.page.wait_for_function(FOLDED, timeout=90_000)
        seen.page.pdf(path=str(pdf), format="A4", print_background=False)


if __name__ == "__main__":
    page_path, out = sys.argv[1:3]
    if out.endswith(".pdf"):
        print_pdf(page_path, out)
    else:
        screenshot(page_path, out, *map(int, sys.argv[3:5]), full=len(sys.argv) < 5)
