"""Pages of whole runs: valid, self-contained, and with the numbers of the run's files."""

import re
import shutil
from functools import lru_cache

import html5lib
import pytest
from support import made_runs
from support.made_runs import facts

from fl.reports.__main__ import main
from fl.reports.build import write_report
from fl.reports.number_format import decimal, number
from fl.reports.pages.sentences import details, signed, sites_above
from fl.reports.run_files import read_run
from fl.util.errors import DataError

SPACE = "{http://www.w3.org/1999/xhtml}"
WRITTEN = ("rhythm", "beat", "holdout", "compared")
SECTIONS = (
    *("answer", "data", "flow", "table-one", "partition", "learning", "comparison", "results"),
    *("unseen", "classes", "decisions", "calibration", "benefit", "egress", "failures", "limits"),
    *("reproduce", "tripod", "glossary"),
)


def pages(folder):
    return sorted(folder.glob("report/**/*.html"))


def tree(path):
    """The page, read by a parser that accepts no invalid HTML."""
    return parsed(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def parsed(path, _):
    return html5lib.HTMLParser(strict=True).parse(path.read_text())


def words(node):
    return " ".join(" ".join(node.itertext()).split())


def text_of(path):
    """The text that a reader sees: without style and figures."""
    content = re.sub(r"<(style|svg).*?</\1>", "", path.read_text(), flags=re.DOTALL)
    return words(html5lib.parse(content))


@pytest.mark.parametrize("name", WRITTEN)
def test_every_page_is_valid_html_with_ids_of_its_own(written, name):
    folder = written(name)
    assert len(pages(folder)) == 1 + len(
        facts(folder / "summary.json")["strategies"]["fedavg"]["sites"]
    )
    for path in pages(folder):
        ids = [node.get("id") for node in tree(path).iter() if node.get("id")]
        assert len(ids) == len(set(ids))
        used = re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", path.read_text())
        assert set(used) <= set(ids)


@pytest.mark.parametrize("name", WRITTEN)
def test_pages_need_no_network_and_no_script(written, name):
    for path in pages(written(name)):
        content = path.read_text()
        assert "<script" not in content
        assert "@import" not in content
        fetched = re.findall(r"(?:src|xlink:href)=\"(?!#|data:)([^\"]*)\"|url\((?!#)", content)
        assert fetched == []
        links = {node.get("href") for node in tree(path).iter(f"{SPACE}link")}
        assert links == {"data:,"}


@pytest.mark.parametrize("name", WRITTEN)
def test_links_between_pages_name_files_that_exist(written, name):
    for path in pages(written(name)):
        for link in re.findall(r"<a href=\"([^\"#]+)\"", path.read_text()):
            assert link.startswith("https://doi.org/") or (path.parent / link).is_file()


@pytest.mark.parametrize("name", WRITTEN)
def test_every_figure_has_a_caption_and_axes_with_names(written, name):
    for path in pages(written(name)):
        figures = list(tree(path).iter(f"{SPACE}figure"))
        assert figures
        for figure in figures:
            caption = words(next(figure.iter(f"{SPACE}figcaption")))
            assert caption.endswith(".")
            svg = next(node for node in figure.iter() if node.tag.endswith("}svg"))
            assert svg.get("aria-label")
            drawn = words(svg)
            if figure.get("class") == "paper":
                assert "25 mm/s 10 mm/mV" in drawn
            else:
                assert re.search(r"[a-z]{4}", drawn), "no axis has a name"


def test_question_and_answer_come_first_and_every_section_is_there(written):
    content = (written("compared") / "report" / "index.html").read_text()
    places = [content.index(f'<section id="{name}">') for name in SECTIONS]
    assert places == sorted(places)
    assert 'class="question"' in content[: places[1]]


def numbers_of(folder):
    """Every number in the run's files as pages print numbers, and signed."""
    found = set()

    def walk(node):
        if isinstance(node, dict | list):
            for part in node.values() if isinstance(node, dict) else node:
                walk(part)
        elif isinstance(node, int | float) and not isinstance(node, bool):
            found.update((number(node), signed(node), decimal(node), str(node)))

    walk(facts(folder / "summary.json"))
    walk(facts(folder / "run.json"))
    return found


@pytest.mark.parametrize("name", WRITTEN)
def test_numbers_in_the_tables_of_results_are_in_the_runs_files(written, name):
    folder = written(name)
    known = numbers_of(folder)
    page = tree(folder / "report" / "index.html")
    checked = 0
    for section in page.iter(f"{SPACE}section"):
        if section.get("id") not in ("partition", "results", "classes", "unseen", "comparison"):
            continue
        for cell in section.iter(f"{SPACE}td"):
            if cell.get("class") != "n" or "%" in words(cell):
                continue
            for figure in re.findall(r"[-+]?\d*\.?\d+", words(cell).split("(")[0]):
                assert figure in known, figure
                checked += 1
    assert checked > 80


def test_counts_of_decisions_are_those_of_the_predictions(written):
    folder = written("rhythm")
    classes = facts(folder / "summary.json")["classes"]
    rows = [r for r in made_runs.table(folder / "predictions.csv") if r["site"] == "site-1"]
    cells = {}
    for row in tree(folder / "report" / "sites" / "site-1.html").iter(f"{SPACE}tr"):
        texts = [words(cell) for cell in row]
        if len(texts) == 5 and texts[0] in classes:
            cells.setdefault(texts[0], texts[1:])
    for name, shown in cells.items():
        pairs = [
            (row[f"y_{name}"] == "1", row[f"d_{name}"] == "1") for row in rows if row[f"y_{name}"]
        ]
        wanted = [
            pairs.count(p) for p in ((True, True), (True, False), (False, True), (False, False))
        ]
        assert shown == [str(count) for count in wanted]
    assert len(cells) == 9


def test_every_page_and_card_marks_synthetic_data(written):
    for path in [*pages(written("rhythm")), written("rhythm") / "weights" / "fedavg.md"]:
        assert "SYNTHETIC DATA" in path.read_text()
    assert 'class="synthetic"' in (written("rhythm") / "report" / "index.html").read_text()


def test_the_same_run_gives_the_same_pages(written, copy):
    folder = copy("rhythm", "rhythm")
    write_report(folder)
    for path in pages(written("rhythm")):
        again = folder / path.relative_to(written("rhythm"))
        assert again.read_bytes() == path.read_bytes()


def test_without_compare_or_holdout_the_page_says_so(written):
    text = text_of(written("rhythm") / "report" / "index.html")
    assert "This run compares nothing" in text
    assert "No source was held out" in text


def test_an_unseen_source_has_its_own_results(written):
    text = text_of(written("holdout") / "report" / "index.html")
    assert "Held out: synthetic-2lead" in text
    assert "Unseen source, FedAvg" in text


def test_the_comparison_answers_with_its_intervals(written):
    text = text_of(written("compared") / "report" / "index.html")
    assert "+.081 [+.031, +.131], evidence of a gain" in text
    assert "FedAvg's macro-F1 is higher than local training's at 2 of the 3 hospitals" in text
    assert "favours FedAvg at one and local training at one; elsewhere it is inconclusive" in text
    assert "expected" not in text.split("Data and their sources")[0]


def test_without_significant_differences_the_answer_says_inconclusive(copy):
    folder = copy("rhythm")
    made_runs.compare(folder)

    def widen(summary):
        for row in summary["comparison"]["differences"]:
            row |= {"value": 0.01, "low": -0.2, "high": 0.2}

    made_runs.change(folder / "summary.json", widen)
    sentences = " ".join(details(read_run(folder)))
    assert "The evidence is inconclusive at every hospital." in sentences
    assert "favours" not in sentences


def test_at_how_many_hospitals_a_training_is_higher_is_a_table(copy):
    folder = copy("rhythm")
    made_runs.compare(folder)
    one = {"strategy": "fedavg", "against": "local", "n_above": 6, "n_sites": 12, "sentence": "x"}

    def count(summary):
        summary["comparison"]["sites_above"] = [
            one | {"metric": "macro_f1", "low": 0.211, "high": 0.789},
            one | {"metric": "macro_auroc", "n_sites": 8, "low": None, "high": None},
        ]

    made_runs.change(folder / "summary.json", count)
    counts = {"macro_f1": "6 of 12 [.211, .789]", "macro_auroc": "6 of 8"}
    assert sites_above(read_run(folder)) == [("fedavg", "local", counts)]
    write_report(folder)
    text = text_of(folder / "report" / "index.html")
    assert "FedAvg local training 6 of 12 [.211, .789] 6 of 8" in " ".join(text.split())


def test_failures_and_exclusions_are_named_with_their_reasons(copy):
    folder = copy("rhythm")
    failure = {"round": 2, "site": "site-2", "reason": "no answer within 5 s <b>"}

    def edit(run):
        run["failures"] = [failure]
        run["data"][0]["excluded"] = {"too-short": ["S90001", "S90002"], "no-label": ["S90003"]}

    made_runs.change(folder / "run.json", edit)
    write_report(folder)
    text = text_of(folder / "report" / "index.html")
    assert "no answer within 5 s <b>" in text
    assert "2: the recording is too short (S90001, S90002)" in text
    own, other = (text_of(folder / "report" / "sites" / f"site-{i}.html") for i in (2, 1))
    assert "Round 2: no answer within 5 s" in own
    assert "no answer within" not in other


COUNTS = ("n", "positive", "patients", "positive_patients")
NOTHING = {"value": None, "low": None, "high": None}


def nothing_measured(summary):
    """The results of a run in which every group is too small or empty."""
    result = summary["strategies"]["fedavg"]
    for report in [result["central"], *result["sites"].values()]:
        report |= {"macro_f1": NOTHING, "macro_auroc": NOTHING, "macro_classes": []}
        report |= {"accuracy": None, "subgroups": {"sex": {"female": None}, "age": {}}}
        for row in report["classes"].values():
            row |= {k: None for k in row if k not in COUNTS}
    result |= {"worst_site": None, "site_mean": None, "spread": None, "unseen": None}
    result["sites"]["site-2"] = {}


def no_central(summary):
    result = summary["strategies"]["fedavg"]
    result |= {"central": None, "central_by_source": {}}


@pytest.mark.parametrize("edit", [nothing_measured, no_central])
def test_what_cannot_be_measured_is_marked_n_a(copy, edit):
    folder = copy("rhythm")
    made_runs.change(folder / "summary.json", edit)
    write_report(folder)
    for path in pages(folder):
        tree(path)
        assert not re.search(r"\bnan\b|None(?! (is stated|are stated))", text_of(path))
    assert "n/a" in text_of(folder / "report" / "index.html")


def test_a_page_without_the_hospitals_predictions_says_so(copy):
    folder = copy("rhythm")
    rows = made_runs.table(folder / "predictions.csv")
    made_runs.write_table(folder / "predictions.csv", [r for r in rows if r["site"] == "central"])
    write_report(folder)
    text = text_of(folder / "report" / "sites" / "site-1.html")
    assert "The predictions for this hospital's records are not in this run directory" in text


def test_recordings_that_are_gone_are_not_drawn_and_the_page_says_why(copy, tmp_path):
    folder = copy("rhythm")
    gone = {"data": "real", "sources": "mitdb", "data_dir": str(tmp_path / "gone")}
    made_runs.change(folder / "run.json", lambda run: run["config"].update(gone))
    write_report(folder)
    page = folder / "report" / "sites" / "site-1.html"
    reason = "the sources are no longer where the run found them"
    assert f"The recording is not drawn: {reason}" in text_of(page)
    assert 'class="paper"' not in page.read_text()


def test_recordings_that_changed_are_not_drawn(copy):
    folder = copy("rhythm")
    made_runs.change(folder / "run.json", lambda run: [d.update(sha256="0") for d in run["data"]])
    write_report(folder)
    pages = sorted((folder / "report" / "sites").glob("*.html"))
    # A hospital of which the model gets nothing wrong has nothing to draw.
    texts = [text for text in map(text_of, pages) if "have changed since" in text]
    assert texts
    assert all("Printed at its own size" not in text for text in texts)


@pytest.mark.slow
def test_seeds_have_a_page_over_them_and_one_each(written, tmp_path, capsys):
    made_runs.repeat(tmp_path, written("compared"))
    assert main([str(tmp_path)]) == 0
    index = tmp_path / "report" / "index.html"
    assert str(index) in capsys.readouterr().out
    tree(index)
    text = text_of(index)
    assert ".412 .401 .423 .016" in text
    assert "+.032 +.021, +.043 2 of 2" in text
    for seed in (0, 1):
        assert f"../seed-{seed}/report/index.html" in index.read_text()
        assert (tmp_path / f"seed-{seed}" / "report" / "index.html").is_file()


@pytest.mark.slow
def test_several_runs_are_put_side_by_side(copy, tmp_path):
    first, second = copy("rhythm", "one"), copy("holdout", "two")
    assert main([str(first), str(second)]) == 0
    page = tmp_path / "side-by-side.html"
    tree(page)
    text = text_of(page)
    assert "holdout - synthetic-2lead" in text
    for link in re.findall(r"<a href=\"([^\"]+)\"", page.read_text()):
        assert (page.parent / link).is_file()


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "Name a run directory" in message
    assert message.count("\n") == 1


def test_a_run_that_is_not_completed_is_refused(copy):
    folder = copy("rhythm")
    made_runs.change(folder / "run.json", lambda run: run.update(status="failed"))
    with pytest.raises(DataError, match="the run is failed, not completed"):
        write_report(folder)


def test_a_page_for_one_run_cannot_be_put_elsewhere(plain, tmp_path, capsys):
    assert main([str(plain("rhythm")), "--out", str(tmp_path / "x.html")]) == 2
    assert "Name two runs or more" in capsys.readouterr().err


def test_a_run_that_was_moved_still_has_its_pages(plain, tmp_path):
    moved = shutil.copytree(plain("beat"), tmp_path / "deep" / "moved")
    write_report(moved)
    assert "moved: one ECG model" in text_of(moved / "report" / "index.html")


def test_a_hospitals_page_states_the_learning_rate_that_was_used(copy):
    folder = copy("rhythm")
    made_runs.change(folder / "run.json", lambda run: run["config"].update(lr=0.0))
    made_runs.change(
        folder / "summary.json",
        lambda found: [s.update(lr=0.0125) for s in found["strategies"].values()],
    )
    write_report(folder)
    assert "lr 0.0125," in text_of(folder / "report" / "sites" / "site-1.html")


def test_of_very_many_hospitals_some_have_a_page_and_any_can_have_one(copy, monkeypatch, capsys):
    run = copy("rhythm")
    monkeypatch.setattr("fl.reports.run_files.shown_sites", lambda patients: ("site-1",))
    write_report(run)
    assert [path.name for path in pages(run)] == ["index.html", "site-1.html"]
    text = text_of(run / "report" / "index.html")
    assert re.search(r"\d of \d hospitals, none with more patients, are not shown", text)
    assert "site-2" not in text.split("Reproduce")[0]
    assert "hospitals, none with more patients" in (run / "weights" / "fedavg.md").read_text()
    assert main([str(run), "--site", "site-2"]) == 0
    assert "site-2" in text_of(run / "report" / "sites" / "site-2.html")
    assert main([str(run), "--site", "nobody"]) == 2
    assert "no records are known of 'nobody'" in capsys.readouterr().err
