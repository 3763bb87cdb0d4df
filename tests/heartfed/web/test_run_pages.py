"""The pages of runs: the list, one run, several side by side, reports; and hostile directories."""

import html
import json
import shutil

import pytest
from support.live_runs import LiveRun
from support.web_client import WebClient

from fl.runs.run_lock import run_lock
from heartfed.web.application import application
from heartfed.web.settings import Settings

HOSTILE = '"><script>alert(1)</script>'
# Every page that a run's address could lead to, if a name could lead out of the folder.
ESCAPES = (
    "/runs/%2e%2e",
    "/runs/..%2fsecret",
    "/runs/%2e%2e%2fsecret",
    "/runs/..%5csecret",
    "/runs/good?part=../../secret",
    "/runs/good?part=seed-1/../../../secret",
    "/runs/good%00",
    "/runs/linked",
    "/runs/linked/files/report/index.html",
    "/runs/%2fetc",
    "/runs/good/files/../run.json",
    "/runs/good/files/run.json",
    "/runs/good/files/report/../../secret/run.json",
    "/runs/good/files/report/%2e%2e/run.json",
    "/runs/good/files/report/sites/%2e%2e%2f%2e%2e%2frun.html",
    "/runs/good/files/report/out.html",
    "/runs/good/files/report/sites/..",
    "/runs/good/files//etc/passwd",
    "/runs/good/files/weights/fedavg-best.safetensors",
    "/runs/" + "x" * 5000,
    "/compare?run=good&run=..%2fsecret",
)


@pytest.fixture
def runs(tmp_path):
    """A folder with a completed run that has a report, one that goes on and one that stopped."""
    folder = tmp_path / "runs"
    good = LiveRun(folder / "good", rounds=1, task="beat")
    good.round()
    good.complete()
    sites = folder / "good" / "report" / "sites"
    sites.mkdir(parents=True)
    (sites.parent / "index.html").write_text("<style>p{}</style><p>the report")
    (sites / "site-1.html").write_text("<p>of site-1")
    LiveRun(folder / "stopped").round()
    LiveRun(folder / "going", strategy="fedprox").round(strategy="fedprox")
    secret = tmp_path / "secret"
    shutil.copytree(folder / "good", secret)
    (folder / "linked").symlink_to(secret)
    (sites.parent / "out.html").symlink_to(secret / "run.json")
    return folder


@pytest.fixture
def ask(runs):
    client = WebClient(application(Settings(runs=runs)))
    with run_lock(runs / "going"):
        yield client.get
    client.close()


def body(answer, code=200):
    assert answer.status_code == code
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    return html.unescape(answer.text)


def test_the_list_shows_every_run_and_counts_what_it_leaves_out(ask, runs):
    text = body(ask("/runs"))
    assert "3 runs in" in text
    assert "1 completed, 1 interrupted, 1 running" in text
    assert "1 not shown: links that lead out of the folder" in text
    assert ".612 [.500, .700]" in text
    assert text.count(">synthetic</strong>") == 3


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("sort=name&order=down", ["stopped", "good", "going"]),
        ("sort=name", ["going", "good", "stopped"]),
        ("status=running", ["going"]),
        ("text=FEDPROX", ["going"]),
        ("task=beat", ["good"]),
        ("task=nothing", []),
        ("sort=__class__&order=x&page=-1", ["good", "going", "stopped"]),
        ("page=999999999999&sort=name", ["going", "good", "stopped"]),
    ],
)
def test_the_list_is_sorted_and_filtered_by_its_address(ask, query, shown):
    text = body(ask(f"/runs?{query}"))
    places = {
        name: text.find(f'name="run" value="{name}"') for name in ("good", "going", "stopped")
    }
    found = sorted((at, name) for name, at in places.items() if at > 0)
    names = [name for _, name in found]
    # Two of them began in the same second.
    assert names == shown or (sorted(names) == sorted(shown) and "__class__" in query)


def test_hundreds_of_runs_are_on_pages(runs, ask):
    for number in range(230):
        folder = runs / f"many-{number}"
        folder.mkdir()
        (folder / "run.json").write_text('{"status": "failed", "error": "no quorum"}')
    text = body(ask("/runs?sort=name"))
    assert "233 runs in" in text
    assert "230 failed" in text
    assert "Page 1 of 2" in text
    assert text.count('name="run" value=') == 200


def test_a_run_shows_its_rounds_sites_and_settings(ask):
    text = body(ask("/runs/going"))
    for words in ("running: FedProx round 1", "round 1 of 3", "about", "site-2", "runs.js"):
        assert words.casefold() in text.casefold()
    assert "SYNTHETIC DATA" in text


def test_a_run_that_stopped_shows_the_line_that_continues_it(ask, runs):
    text = body(ask("/runs/stopped"))
    assert "interrupted: FedAvg round 1" in text
    assert f"python run_sim.py --resume {runs / 'stopped'}" in text
    assert "runs.js" not in text


def test_a_completed_run_has_its_results_and_its_report(ask):
    text = body(ask("/runs/good"))
    assert 'href="/runs/good/files/report/index.html"' in text
    report = ask("/runs/good/files/report/sites/site-1.html")
    assert (report.status_code, report.text) == (200, "<p>of site-1")
    policy = report.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-scripts" not in policy
    assert "script-src" not in policy


def test_runs_side_by_side_show_what_differs(ask):
    text = body(ask("/compare?run=good&run=going"))
    assert "their figures cannot be compared" in text
    for words in (".612 [.500, .700]", "FedProx", '<th scope="row">strategy</th>', "(4 of 9)"):
        assert words in text
    assert "Choose from 2 to 8 runs" in body(ask("/compare?run=good"), 400)
    assert body(ask("/compare?" + "&".join(f"run=r{n}" for n in range(9))), 400)


@pytest.mark.parametrize("address", ESCAPES)
def test_no_address_leads_out_of_the_folder(ask, address):
    name, _, query = address.partition("?")
    for path in (address, f"{name}/events?{query}"):
        answer = ask(path)
        assert answer.status_code in (404, 400), path
        assert "root:" not in answer.text
        assert "data checksums" not in answer.text


def test_a_run_named_on_the_command_line_is_shown_too(tmp_path):
    LiveRun(tmp_path / "elsewhere" / "mine").complete()
    settings = Settings(runs=tmp_path / "none", run=tmp_path / "elsewhere" / "mine")
    client = WebClient(application(settings))
    assert "1 runs in" in body(client.get("/runs"))
    assert "completed" in body(client.get("/runs/mine"))
    assert client.get("/runs/other").status_code == 404
    client.close()


def hostile(folder):
    """A run directory whose every text is HTML and whose numbers are no measures."""
    run = LiveRun(folder, strategy=HOSTILE, compare=HOSTILE, task=HOSTILE, seeds=HOSTILE)
    run.write(started=HOSTILE, synthetic=[HOSTILE], command=[HOSTILE], error=HOSTILE)
    run.write(failures=[{"site": HOSTILE, "reason": HOSTILE, "round": 10**400}], status="failed")
    run.round(strategy=HOSTILE, seconds=float("nan"), train_loss=float("inf"), val_macro_f1=-1e11)
    (folder / "sites.csv").write_text(
        f"strategy,round,site,split,n_records,loss,macro_f1,macro_auroc\n"
        f'"{HOSTILE.replace(chr(34), chr(34) * 2)}",1,<img src=x onerror=alert(2)>,val,1,1e308,x,\n'
    )
    return run


def test_hostile_text_is_escaped_everywhere(ask, runs):
    hostile(runs / "<b>bad</b>")
    for address in ("/runs", "/runs/%3Cb%3Ebad%3C%2Fb%3E", "/compare?run=good&run=<b>bad<%2Fb>"):
        answer = ask(address)
        assert answer.status_code in (200, 404)  # a name holds no slash
        for tag in ("<script>alert", "<img", "<b>"):
            assert tag not in answer.text


def test_a_hostile_run_costs_its_own_cells(ask, runs):
    hostile(runs / "bad")
    text = ask("/runs/bad").text
    for tag in ("<script>alert", "<img", "onerror=alert(2)>"):
        assert tag not in text
    assert "n/a" in text
    assert "-1e+11" in text
    assert "cells or lines of rounds.csv and sites.csv cannot be read" in text


@pytest.mark.parametrize("damage", ["summary.json", "run.json", "rounds.csv", "sites.csv"])
def test_a_damaged_file_costs_what_it_holds_and_not_the_page(ask, runs, damage):
    for content in (b"", b"\xff\xfe{", b"[" * 10_000, json.dumps({"strategies": 3}).encode()):
        (runs / "good" / damage).write_bytes(content)
        assert body(ask("/runs"))
        assert body(ask("/runs/good"))
        assert body(ask("/compare?run=good&run=going"))
