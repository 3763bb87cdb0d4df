"""docs/security.md names tests, files and headings that are there."""

import re

import pytest
from support.documents import ROOT

TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)
PAGES = {
    path: (ROOT / path).read_text()
    for path in ("docs/security.md", "docs/deploy.md", "SECURITY.md", "deploy/README.md")
}


def test_every_test_that_is_named_is_there():
    assert len(NAMED) > 30
    missing = [
        f"{path}::{name}"
        for path, name in NAMED
        if not re.search(rf"^def {name}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE)
    ]
    assert missing == []


def test_every_party_of_the_first_table_has_a_test():
    parties = ("stranger", "site", "coordinator", "colluding sites", "other user", "visitor")
    rows = re.findall(r"^\| ([\w ]+) \| [^|]+ \| `[\w/]+\.py::", TEXT, re.MULTILINE)
    assert set(rows) == {*parties, "operator"}


def anchor(heading):
    """The name that a heading has in links, as GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    for path, name in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGES[page]):
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), path
        if name:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert name in map(anchor, headings), f"{path}#{name}"
