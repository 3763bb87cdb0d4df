"""Who took part, what left a hospital, and the words that a page explains."""

import re
from pathlib import Path

import pytest
from support import made_runs
from support.made_runs import facts

from fl.privacy.egress_policy import HISTOGRAMS, NUMBERS, TEXTS
from fl.reports.build import write_report
from fl.reports.figures.flow_diagram import flow_diagram
from fl.reports.pages.glossary import GLOSSARY
from fl.reports.pages.participants import FlowStep, flow
from fl.reports.pages.what_left import ARRAYS, UPDATE, WORDS, contents, totals
from fl.reports.run_files import read_run

ROOT = Path(__file__).parents[4]


@pytest.fixture
def excluding(copy):
    """A run that found seven records more than it used, two of them duplicates."""
    folder = copy("rhythm")

    def edit(run):
        run["data"][0]["excluded"] = {"too-short": ["A", "B", "C", "D", "E"], "duplicate": ["F"]}
        run["data"][1]["excluded"] = {"duplicate": ["G"]}

    made_runs.change(folder / "run.json", edit)
    return read_run(folder)


def test_the_flow_adds_up_from_found_to_used(excluding):
    found, readable, used, *groups = flow(excluding)
    n = sum(entry.recordings for entry in excluding.facts.data)
    assert found.title == f"Records found: {n + 7}"
    assert found.aside_title == "Left out: 5"
    assert found.aside == ("synthetic: 5, the recording is too short",)
    assert readable.title == f"Usable records: {n + 2}"
    assert readable.aside_title == "Duplicates left out: 2"
    assert used.title.startswith(f"Used: {n} records of ")
    parts = [int(re.search(r"(\d+) records? of", step.title)[1]) for step in groups]
    assert sum(parts) == n


def test_the_groups_of_the_flow_count_patients_by_split(excluding):
    sites, central = flow(excluding)[3:]
    lines = dict(line.split(": ") for line in sites.lines)
    assert list(lines) == ["training", "validation", "test"]
    patients = sum(int(re.search(r"of (\d+) patient", line)[1]) for line in lines.values())
    rows = [row for row in excluding.partition if row["site"].startswith("site-")]
    assert patients == len({row["patient"] for row in rows})
    assert central.title.startswith("Central test")


def test_a_long_reason_is_wrapped_and_escaped():
    svg = flow_diagram([FlowStep("Found: 3", (), "Left out: 1", ("<b> " + "word " * 30,))]).svg
    assert "&lt;b&gt;" in svg
    assert max(len(line) for line in re.findall(r">([^<]*)</text>", svg)) <= 60
    assert flow_diagram([]) is None


def test_everything_the_egress_check_lets_out_is_named_in_words():
    shown = {row.kind: row.what for row in contents()}
    assert shown.keys() == TEXTS.keys()
    for kind in TEXTS:
        for name in TEXTS[kind] | NUMBERS[kind]:
            assert WORDS[name] in shown[kind]
    assert set(ARRAYS) == set(HISTOGRAMS)
    assert UPDATE in shown["train"]


def test_an_update_is_sent_each_round(written):
    run = read_run(written("rhythm"))
    size = (run.folder / "weights" / "fedavg-best.safetensors").stat().st_size
    assert [(t.site, t.rounds, t.weights) for t in totals(run)] == [
        (site, 2, 2 * size) for site in run.sites
    ]


def test_a_simulation_says_that_nothing_left_in_fact(written):
    page = (written("rhythm") / "report" / "index.html").read_text()
    assert "Nothing left a hospital in fact" in page


def test_table_one_shows_every_patient_with_the_unknown_ones(written):
    page = (written("rhythm") / "report" / "index.html").read_text()
    table = page[page.index('id="table-one"') : page.index('id="partition"')]
    for row in facts(written("rhythm") / "run.json")["sites"]:
        assert f'<td class="n">{row["table_one"]["patients"]}</td>' in table
    assert "unknown" in table


def test_only_a_hospitals_page_is_confidential(written):
    folder = written("rhythm") / "report"
    assert "Confidential: for site-1 only" in (folder / "sites" / "site-1.html").read_text()
    assert "Confidential: for" not in (folder / "index.html").read_text()


def test_the_glossary_of_the_pages_is_part_of_the_projects():
    known = (ROOT / "docs" / "glossary.md").read_text()
    assert [word for word in GLOSSARY if f"| {word} |" not in known] == []


def test_pages_of_a_run_over_folds_count_each_patient_once(copy):
    folder = copy("rhythm")
    made_runs.change(folder / "run.json", lambda run: run["config"].update(site_folds=2))
    made_runs.change(
        folder / "summary.json",
        lambda s: s["strategies"]["fedavg"].update(thresholds=None, best_round=None),
    )
    rows = made_runs.table(folder / "predictions.csv")
    central = [row for row in rows if row["site"] == "central"]
    first = [row | {"fold": "1"} for row in rows]
    made_runs.write_table(
        folder / "predictions.csv", first + [row | {"fold": "2"} for row in central]
    )
    write_report(folder)
    page = (folder / "report" / "index.html").read_text()
    decisions = page[page.index('id="decisions"') : page.index('id="calibration"')]
    counts = [int(n) for n in re.findall(r'<td class="n">(\d+)</td>', decisions)]
    assert sum(counts[:4]) == sum(row["y_NSR"] != "" for row in central)
    assert "means over the 2 folds" in page
    assert (
        "tested once, in one of 2 folds"
        in (folder / "report" / "sites" / "site-1.html").read_text()
    )
