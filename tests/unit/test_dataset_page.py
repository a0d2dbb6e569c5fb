"""The dataset's page and portrait, made from what the stages before leave."""

import json

import pytest
from lxml import html
from test_datasets import ROWS, SPLIT, STEPS, make_source, run

from sftflow.stage import StageError

CONFLICTING = [
    ("Which colour is the sky?", f"The sky is {c}, I believe." * 2) for c in ("blue", "grey")
]
CLEAN = [*STEPS, {"step": "conflicts", "keep": "none"}]


def templated(folder, bins, overlong=0, max_length=64):
    """Write the manifest that template_data would leave."""
    counts = {"overlong": overlong, "truncated": 0, "tokens": 400, "trained_tokens": 90}
    counts |= {"length": {"p50": 9, "p95": 60, "max": 64}, "rejected": {}}
    counts |= {"whole_length_bins": bins}
    settings = {"dataset": "d", "base": "tiny", "max_length": max_length}
    folder.mkdir(parents=True)
    manifest = {"schema": 1, "settings": settings, "counts": {"train": counts}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return str(folder / "manifest.json")


def visible(page):
    tree = html.fromstring(page)
    for node in tree.xpath("//style"):
        node.getparent().remove(node)
    return " ".join(" ".join(tree.itertext()).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a dataset's folder: an earlier version first, then one with other rows."""
    folder = tmp_path_factory.mktemp("page")
    early = run(folder / "early", [make_source(folder / "early/one", ROWS)], CLEAN, SPLIT)
    rows = [
        *ROWS,
        *ROWS[:3],
        *CONFLICTING,
        ("写一首关于春天的诗吧，好吗？", "春" * 30),
    ]
    tokens = templated(folder / "templated/k", [[16, 30], [70, 5]], overlong=5)
    report = ["--tokens", tokens, "--earlier", str(early / "portrait.json")]
    return run(folder / "now", [make_source(folder / "now/one", rows)], CLEAN, SPLIT, report=report)


def test_what_the_page_says(made):
    page = (made / "report.html").read_text()
    text = visible(page)
    assert "5 of 35 samples (14.3%) are longer than max_length 64: 5 dropped." in text
    assert "exact_duplicates: 3 rows went" in text
    assert "says the same as one f.jsonl:1" in text
    assert text.count("The sky is blue, I believe.") >= 2  # beside its rival, and as a loss
    assert "47 raw rows became" in text  # 40 + 3 + 2 + 1, and the one that could not be read
    headings = ["Sources", "Languages", "Drift", "Duplicates and conflicts", "Rows to look at"]
    assert [h for h in headings if h not in text] == []


def test_each_picture_is_inside_and_has_words(made):
    tree = html.fromstring((made / "report.html").read_text())
    pictures = tree.xpath("//img")
    assert len(pictures) >= 5  # tokens, prompts, answers, openings, two of drift
    assert {p.get("src").split(",")[0] for p in pictures} == {"data:image/svg+xml;base64"}
    assert all(p.get("alt") for p in pictures)
    (drawn,) = tree.xpath("//svg[@class='funnel']")
    assert drawn.get("aria-label")
    assert tree.xpath("//script | //link | //iframe") == []


def test_every_link_leads_somewhere(made):
    tree = html.fromstring((made / "report.html").read_text())
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in tree.xpath("//nav//@href")} <= set(ids)


def test_the_portrait_tells_the_drift(made):
    said = json.loads((made / "portrait.json").read_text())
    assert said["rows"] == said["lengths"]["turns"]["texts"]
    assert {line["label"] for line in said["drift"]["lines"]} > {"sources", "answers per row"}
    assert all(0 <= line["distance"] <= 1 for line in said["drift"]["lines"])


def test_the_same_rows_leave_the_same_bytes(tmp_path):
    pages = []
    for name in ("a", "b"):
        data = run(tmp_path / name, [make_source(tmp_path / name / "one", ROWS)], CLEAN, SPLIT)
        pages.append([(data / f).read_bytes() for f in ("report.html", "portrait.json")])
    assert pages[0] == pages[1]


def test_without_a_run_or_an_earlier_version_the_page_says_so(tmp_path):
    data = run(tmp_path, [make_source(tmp_path / "one", ROWS)], [], SPLIT)
    text = visible((data / "report.html").read_text())
    assert "No run uses this dataset" in text
    assert "Nothing to compare with" in text
    assert json.loads((data / "portrait.json").read_text())["drift"] is None


def test_an_earlier_version_that_is_none_stops_before_any_work(tmp_path):
    (tmp_path / "old.json").write_text("{}")
    source = make_source(tmp_path / "one", ROWS)
    with pytest.raises(StageError, match=r"old.json is not a portrait of schema 1; take the"):
        run(tmp_path, [source], [], SPLIT, report=["--earlier", str(tmp_path / "old.json")])
    assert not (tmp_path / "datasets/d/report.html").exists()


def test_overlaps_with_benchmark_questions(tmp_path):
    match = {"source": "one", "row": 3, "suite": "s", "task": "t<b>", "doc": 7, "span": "<i>x</i>"}
    found = {"counts": {"rows_with_overlap": 31}, "matches": [match] * 31}
    (tmp_path / "contamination.json").write_text(json.dumps(found))
    report = ["--contamination", str(tmp_path / "contamination.json")]
    source = make_source(tmp_path / "one", ROWS)
    text = visible((run(tmp_path, [source], [], SPLIT, report=report) / "report.html").read_text())
    assert "Overlap with benchmark questions: 31 rows" in text
    assert text.count("<i>x</i>") == 20
    assert "11 more matches" in text
