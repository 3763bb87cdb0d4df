"""A hospital's page depends on its own patients only: other hospitals' data do not change it."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from support import made_runs
from support.made_runs import facts

from fl.evaluation.strategy_comparison import ComparisonRow
from fl.explain.run_networks import RunNetworks
from fl.reports.build import write_report
from fl.reports.figures.most_wrong import Recordings, most_wrong, recording_of, where
from fl.reports.number_format import number
from fl.reports.pages.sentences import HEADLINES, advice, verdict
from fl.reports.pages.site_page import site_page
from fl.reports.pages.site_view import view_of_site
from fl.reports.run_files import read_run

KINDS = ("rhythm", "beat", "holdout", "compared")


def visible(path):
    """The page without the shapes of its figures: their texts stay."""
    content = path.read_text()
    content = re.sub(r"<style.*?</style>", "", content, flags=re.DOTALL)
    return re.sub(r"<(?:path|use|g|svg|clipPath|rect|image)\b[^>]*>", " ", content)


@pytest.mark.parametrize("kind", KINDS)
def test_no_page_names_a_record_a_patient_or_the_name_of_another_site(written, kind):
    folder = written(kind)
    rows = made_runs.table(folder / "partition.csv")
    for path in sorted(folder.glob("report/sites/*.html")):
        own_rows = [row for row in rows if row["site"] == path.stem]
        others = [row for row in rows if row["site"] != path.stem]
        own_names = {name for row in own_rows for name in names(row)}
        tokens = set(re.findall(r"[\w:/.-]+", visible(path)))
        parts = tokens | {part for token in tokens for part in re.split(r"[:/]", token)}
        foreign_names = {name for row in others for name in names(row)} - own_names
        assert not parts & foreign_names
        sites = {row["site"] for row in others} - {"central", "unseen"}
        assert not parts & sites


def names(row):
    """Every way to name the record or its patient."""
    return {
        row["record"],
        recording_of(row["record"]),
        row["patient"],
        row["patient"].split(":")[1],
    }


def altered(node):
    """The same content with every number changed."""
    if isinstance(node, dict):
        return {key: altered(value) for key, value in node.items()}
    if isinstance(node, list):
        return [altered(value) for value in node]
    if isinstance(node, bool) or node is None or isinstance(node, str):
        return node
    return node + 1 if isinstance(node, int) else (node + 0.1234) % 1


def change_the_others(folder, site):
    """Change everything in a run's files that is not about this site."""
    summary = facts(folder / "summary.json")
    for result in summary["strategies"].values():
        for key in ("central", "central_by_source", "unseen", "worst_site", "site_mean", "spread"):
            result[key] = altered(result[key])
        result["sites"] = {
            name: report if name == site else altered(report)
            for name, report in result["sites"].items()
        }
        result["gradient_steps"] += 100
    for row in summary.get("comparison", {}).get("differences", []):
        if row["where"] != f"site:{site}":
            row |= {"value": 0.4444, "low": 0.3333, "high": 0.5555, "n_patients": 999}
    (folder / "summary.json").write_text(json.dumps(summary))

    def edit(run):
        run["sites"] = [row if row["site"] == site else altered(row) for row in run["sites"]]
        run["non_iid"] = 0.777
        run["failures"] = [{"round": 1, "site": "other", "reason": "secret"}]
        for entry in run["data"]:
            entry |= {key: entry[key] + 7 for key in ("examples", "recordings", "patients")}

    made_runs.change(folder / "run.json", edit)
    for file in ("partition.csv", "predictions.csv", "sites.csv"):
        rows = [
            row if row["site"] == site else foreign(row) for row in made_runs.table(folder / file)
        ]
        rows += [foreign(row) for row in rows if row["site"] != site][:5]
        made_runs.write_table(folder / file, rows)


def foreign(row):
    """Another record of another patient with other labels."""
    changed = dict(row)
    for key in ("record", "patient"):
        if key in row:
            changed[key] = row[key].replace("0", "8") + "9"
    if "labels" in row:
        changed["labels"] = "AF" if row["labels"] != "AF" else "NSR"
    return changed


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_does_not_change_with_the_data_of_others(written, tmp_path, kind):
    folder = tmp_path / kind
    shutil.copytree(written(kind), folder)
    site = "site-2"
    change_the_others(folder, site)
    before = written(kind) / "report" / "sites" / f"{site}.html"
    run = read_run(folder)
    after = site_page(
        view_of_site(run, site),
        Recordings(run.facts),
        RunNetworks(folder, run.config, run.main),
    )
    assert after == before.read_text()


def test_left_out_recordings_are_listed_only_if_no_other_site_has_the_source(copy):
    folder = copy("rhythm")
    run = facts(folder / "run.json")
    for entry in run["data"]:
        entry["excluded"] = {"too-short": [f"X-{entry['source']}"]}
    (folder / "run.json").write_text(json.dumps(run))
    write_report(folder)
    holders = {row["site"]: row["sources"] for row in run["sites"]}
    for path in folder.glob("report/sites/*.html"):
        (source,) = holders[path.stem]
        alone = sum(source in s for n, s in holders.items() if n.startswith("site-")) == 1
        assert (f"X-{source}" in path.read_text()) == alone
        others = {entry["source"] for entry in run["data"]} - {source}
        assert not any(f"(X-{other})" in path.read_text() for other in others)


WANTED = {
    "site-1": "Join: there is evidence of a gain",
    "site-2": "Do not join on these results",
    "site-3": "There is no evidence of a gain",
}


@pytest.mark.parametrize("site", WANTED)
def test_the_recommendation_follows_from_the_intervals(written, site):
    page = written("compared") / "report" / "sites" / f"{site}.html"
    assert WANTED[site] in page.read_text()
    assert "test patients of this hospital were measured" in page.read_text()


def test_without_a_comparison_nothing_is_recommended(written):
    text = (written("rhythm") / "report" / "sites" / "site-1.html").read_text()
    assert "No recommendation: this run compares nothing" in text


def row(low, high, metric="macro_f1", against="local"):
    value = None if low is None else (low + high) / 2
    return ComparisonRow(
        strategy="fedavg",
        against=against,
        where="site:a",
        metric=metric,
        value=value,
        low=low,
        high=high,
        n_patients=40,
        sentence="",
    )


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0.01, 0.2, "gain"), (-0.2, -0.01, "loss"), (-0.1, 0.2, "none"), (None, None, "unknown")],
)
def test_the_interval_decides_and_not_the_value(low, high, wanted):
    assert verdict(row(low, high)) == wanted


def test_an_interval_that_does_not_hold_its_value_is_no_evidence():
    assert verdict(row(0.01, 0.2).model_copy(update={"value": -0.02})) == "none"
    assert verdict(None) == "unknown"


def test_every_pair_of_verdicts_has_a_headline():
    kinds = ("gain", "loss", "none", "unknown")
    assert {(a, b) for a in kinds for b in kinds} == HEADLINES.keys()


def test_a_recommendation_says_if_its_patients_are_few(written):
    view = view_of_site(read_run(written("compared")), "site-1")
    object.__setattr__(view, "differences", [row(0.01, 0.2)])
    assert not any("Only" in sentence for sentence in advice(view).because)
    object.__setattr__(view, "differences", [row(0.01, 0.2).model_copy(update={"n_patients": 12})])
    assert any("Only 12 test patients" in sentence for sentence in advice(view).because)


def test_the_most_wrong_predictions_are_wrong_and_of_different_recordings(written):
    run = read_run(written("beat"))
    found = run.predictions.of("fedavg", "site-1")
    worst = most_wrong(found, found.decided, count=50)
    assert worst == sorted(worst, key=lambda m: -m.surprise)
    assert all(m.truth != m.predicted for m in worst)
    recordings = [recording_of(m.name) for m in worst]
    assert len(recordings) == len(set(recordings))
    rows = {r["record"]: r for r in made_runs.table(written("beat") / "predictions.csv")}
    for m in worst:
        assert [c for c in run.classes if rows[m.name][f"y_{c}"] == "1"] == list(m.truth)


@pytest.mark.parametrize(
    ("example", "wanted"),
    [("A0001", (0.0, None)), ("201/0120s", (120.0, None)), ("100/003600", (5.0, 10.0))],
)
def test_the_ten_seconds_drawn_are_those_of_the_example(example, wanted):
    record = SimpleNamespace(fs=360.0, signal=np.zeros((2, 360 * 1800)))
    assert where(example, record) == wanted


@pytest.mark.parametrize("kind", ["rhythm", "beat"])
def test_the_most_wrong_are_drawn_on_paper_with_their_record_id(written, kind):
    folder = written(kind)
    for path in folder.glob("report/sites/*.html"):
        content = path.read_text()
        run = read_run(folder)
        found = run.predictions.of("fedavg", path.stem)
        worst = most_wrong(found, found.decided)
        assert content.count('class="paper"') == len(worst)
        for wrong in worst:
            assert f"{wrong.source} {wrong.name}" in content


def test_a_site_sees_only_its_sources_thresholds(written):
    run = read_run(written("rhythm"))
    view = view_of_site(run, "site-3")
    assert set(view.thresholds) == {"pooled", *view.sources}


def test_a_page_of_beats_shows_the_thresholds_of_s_and_v_and_none_for_the_others(written):
    folder = written("beat")
    page = (folder / "report" / "sites" / "site-1.html").read_text()
    table = page.split('aria-label="Calibration at the chosen thresholds"')[1].split("</table>")[0]
    cells = re.findall(r'<tr><th scope="row">(\w)</th><td class="n">([^<]*)</td>', table)
    stated = dict(cells)
    assert list(stated) == ["N", "S", "V", "F", "Q"]
    assert [stated[c] for c in "NFQ"] == ["none"] * 3
    view = view_of_site(read_run(folder), "site-1")
    used = {view.thresholds[source]["S"] for source in view.predictions.source.tolist()}
    assert stated["S"] == ", ".join(map(number, sorted(used)))
