"""A dataset's page in a real browser: quiet, offline, deaf to planted scripts, by keyboard too."""

import browser
import pytest
from test_datasets import make_source, run

pytestmark = pytest.mark.e2e

PLANTED = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">"
LONG = f"{PLANTED} " + "a long answer " * 200


def test_the_page_in_a_browser(tmp_path):
    rows = [(f"{PLANTED} Question {i}?", f"{LONG} {i}") for i in range(30)]
    rows += [(f"请解释一下第{i}个问题的答案。", "很长的回答" * 20) for i in range(30)]
    source = make_source(tmp_path / "one", rows)
    split = {"validation": 2, "test": 2, "seed": 0}
    page = run(tmp_path, [source], [{"step": "exact_duplicates"}], split) / "report.html"
    for width in (1280, 390):
        with browser.visit(page, width) as seen:
            drawn = seen.page.evaluate(
                "Array.from(document.images, (i) => i.complete && i.naturalWidth > 100)"
            )
            wide = seen.page.evaluate("document.documentElement.scrollWidth")
            seen.page.focus("article.row summary")
            seen.page.keyboard.press("Enter")
            opened = seen.page.locator("article.row details[open]").count()
            title = seen.page.title()
        assert seen.faults == []
        assert seen.requests == [page.as_uri()]
        assert len(drawn) >= 3
        assert all(drawn)
        assert wide == width  # nothing sticks out on a phone
        assert opened == 1
        assert title == "d: dataset report"
