"""Snakemake's own report of a finished run: our results are in it, and it needs no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from browser import ARGS, CHROMIUM
from playwright.sync_api import sync_playwright

from workflow import REPO

pytestmark = pytest.mark.e2e
NOWHERE = "http://127.0.0.1:9"  # nothing listens there


def test_the_results_are_in_snakemakes_report(finished, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    page = tmp_path / "snakemake.html"
    command = [Path(sys.executable).parent / "snakemake", "--directory", finished]
    done = subprocess.run(
        [*command, "--report", page], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for name in ("report.html", "summary.csv", "gates.json", "preview.html", "history.csv"):
        assert f"Adding {name}" in done.stderr
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        seen, asked, faults = browser.new_page(), [], []
        seen.on("request", lambda request: asked.append(request.url))
        seen.on("pageerror", lambda error: faults.append(str(error)))
        seen.goto(page.as_uri())
        seen.get_by_text("All results", exact=True).first.click()
        seen.locator("tr:has-text('the page') a").first.click()
        ours = seen.frame_locator("iframe")
        ours.locator("h1").wait_for()
        assert "tickets-lora is better than tiny" in ours.locator("h1").inner_text()
        browser.close()
    assert faults == []
    assert [url for url in asked if url.startswith("http")] == []
