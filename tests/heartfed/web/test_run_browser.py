"""The page of a run in Chromium: it follows a run until its end, and holds hostile text."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright
from support.browser import executable, too_wide
from support.live_runs import LiveRun
from support.live_server import served

from heartfed.web.settings import Settings

ROOT = Path(__file__).parents[3]
HOSTILE = '"><script>document.title="pwned"</script><img src=x onerror="document.title=1">'
PATIENCE = 30_000  # milliseconds, on a busy machine
pytestmark = pytest.mark.skipif(executable() is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def complaints():
    """What pages complained of in the console: policies that were broken, errors of scripts."""
    return []


@pytest.fixture
def page(chromium, complaints):
    made = chromium.new_page(viewport={"width": 390, "height": 844})
    made.set_default_timeout(PATIENCE)
    made.on("console", lambda message: complaints.append(message.text))
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    made.close()


def fits(page):
    """Whether the page needs no horizontal scrolling."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_run_is_followed_until_it_is_over(page, complaints, tmp_path):
    run = LiveRun(tmp_path / "a run")
    with served(Settings(runs=tmp_path)) as address:
        headline = page.get_by_role("status")
        with run.held():
            page.goto(f"{address}/runs")
            page.get_by_role("link", name="a run", exact=True).click()
            expect(page.get_by_text("This page follows the run.")).to_be_visible()
            expect(page.get_by_text("No round is over yet.")).to_be_visible()
            for number in (1, 2):
                run.round()
                expect(headline).to_have_text(f"running: FedAvg round {number}", timeout=PATIENCE)
                expect(page.get_by_text(f"FedAvg: round {number} of 3")).to_be_visible()
            expect(page.get_by_text("left until the last round")).to_be_visible()
            expect(page.get_by_role("rowheader", name="site-2")).to_be_visible()
            expect(page.get_by_role("img", name="Validation loss by round")).to_be_visible()
            # What the reader has closed stays closed, and the focus stays where it is.
            rounds = page.locator("[data-section=rounds] summary")
            rounds.focus()
            page.keyboard.press("Enter")
            run.round()
            run.checkpoint("fedavg", [{"round": 3, "site": "site-1", "reason": "train: late"}])
            expect(page.get_by_text("train: late")).to_be_visible(timeout=PATIENCE)
            expect(rounds).to_contain_text("3 rounds", timeout=PATIENCE)
            assert page.locator("[data-section=rounds] details").get_attribute("open") is None
            assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
            assert too_wide(page) == []
            report = run.folder / "report"
            report.mkdir()
            (report / "index.html").write_text("<style>h1{color:red}</style><h1>Report</h1>")
            run.complete()
            expect(headline).to_have_text("completed", timeout=PATIENCE)
        expect(page.get_by_text(".612 [.500, .700]")).to_be_visible()
        expect(page.get_by_text("This page no longer changes.")).to_be_visible()
        page.get_by_role("link", name="The whole federation").click()
        expect(page.get_by_role("heading", name="Report")).to_be_visible()
    assert complaints == []


def test_hostile_text_runs_nothing(page, complaints, tmp_path):
    run = LiveRun(tmp_path / "<i>bad", strategy=HOSTILE, task=HOSTILE)
    run.write(synthetic=[HOSTILE], started=HOSTILE)
    good = LiveRun(tmp_path / "good")
    good.complete()
    report = good.folder / "report"
    report.mkdir()
    (report / "index.html").write_text(f"<p>{HOSTILE}")
    with served(Settings(runs=tmp_path)) as address, run.held():
        for path in ("/runs/%3Ci%3Ebad", "/runs", "/compare?run=good&run=%3Ci%3Ebad"):
            page.goto(address + path)
            assert "HeartFed" in page.title()
            assert page.locator("main img, main i").count() == 0
            assert too_wide(page) == [], path
        page.goto(f"{address}/runs/%3Ci%3Ebad")
        run.round(strategy=HOSTILE, train_loss=float("inf"))
        run.checkpoint("fedavg", [{"round": 1, "site": HOSTILE, "reason": HOSTILE}])
        expect(page.get_by_role("status")).to_contain_text("round 1", timeout=PATIENCE)
        expect(page.get_by_role("cell", name=HOSTILE).first).to_be_visible(timeout=PATIENCE)
        assert "HeartFed" in page.title()
        assert too_wide(page) == []
        assert complaints == []
        page.goto(f"{address}/runs/good/files/report/index.html")
        assert page.title() == ""


@pytest.mark.slow  # it trains three rounds on synthetic recordings
def test_a_real_run_finishes_while_its_page_is_open(page, complaints, tmp_path):
    command = [
        *(sys.executable, "run_sim.py", "--data", "synthetic", "--synthetic-records", "60"),
        *("--clients", "2", "--rounds", "3", "--model", "resnet1d", "--engine", "local"),
        *("--partition", "patients", "--workers", "1", "--local-epochs", "1", "--quiet"),
        *("--out", str(tmp_path / "runs"), "--name", "real"),
    ]
    run = tmp_path / "runs" / "real"
    with (
        served(Settings(runs=run.parent)) as address,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process,
    ):
        end = time.monotonic() + 120
        while not (run / "run.json").exists() and time.monotonic() < end:
            time.sleep(0.1)
        page.goto(f"{address}/runs/real")
        expect(page.get_by_role("status")).to_contain_text("running")
        expect(page.get_by_text("FedAvg: round 1 of 3")).to_be_visible(timeout=120_000)
        expect(page.get_by_role("status")).to_have_text("completed", timeout=240_000)
        assert process.wait(timeout=120) == 0
        page.reload()
        page.get_by_role("link", name="The whole federation").click()
        page.get_by_role("link", name="site-1").first.click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert complaints == []
