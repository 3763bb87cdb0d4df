"""Pages in a browser, in the widths of a desktop screen and of a phone."""

import pytest
from support import browser, made_runs

from fl.reports.__main__ import main
from fl.reports.pages.seeds_page import seeds_page
from fl.reports.run_files import read_run
from fl.runs.results import read_seeds


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    command = browser.executable()
    if command is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with browser.opened(command, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture(scope="module")
def every_page(written, tmp_path_factory):
    """One page of each kind."""
    aside = tmp_path_factory.mktemp("aside") / "side-by-side.html"
    assert main([str(written("holdout")), str(written("beat")), "--out", str(aside)]) == 0
    parent = tmp_path_factory.mktemp("seeds")
    made_runs.repeat(parent, written("compared"))
    seeds = read_seeds(parent)
    over = parent / "over.html"
    over.write_text(seeds_page(parent, seeds, [read_run(written("compared"))] * 2))
    compared, beat = written("compared") / "report", written("beat") / "report"
    return [
        compared / "index.html",
        compared / "sites" / "site-1.html",
        beat / "index.html",
        beat / "sites" / "site-2.html",
        over,
        aside,
    ]


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_open_without_errors_requests_or_sideways_scrolling(tab, every_page, width):
    for page in every_page:
        seen = tab.open(page, width)
        assert seen["complaints"] == []
        # The browser lists data in the page itself too, but makes no request for it.
        requests = [url for url in seen["requests"] if not url.startswith("data:")]
        assert requests == [page.as_uri()]
        assert seen["width"] == width, page.name


def test_errors_requests_and_wide_pages_are_noticed(tab, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        '<!DOCTYPE html><title>x</title><img src="none.png"><p style="width:2000px">wide</p>'
        "<script>console.error('no')</script>"
    )
    seen = tab.open(page, 390)
    assert seen["width"] > 390
    assert len(seen["requests"]) > 1
    assert seen["complaints"]
