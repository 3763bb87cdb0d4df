"""The monitor's page in a browser: a replay raises and clears alarms, and no script is inline."""

import time

import httpx
import pytest
from support.browser import executable
from support.live_server import served

from fl.monitor import demonstration as made
from heartfed.web.settings import Settings


@pytest.fixture
def address(monkeypatch):
    """The application, whose synthetic signal has the pause after eight seconds."""
    course = ((8.0, 75.0, False), (6.0, 0.0, False), (20.0, 75.0, False))
    monkeypatch.setattr(made, "COURSE", course)
    monkeypatch.setattr(made, "LOOSE", (99.0, 99.0))
    with served(Settings()) as found:
        yield found


@pytest.fixture
def tab():
    playwright = pytest.importorskip("playwright.sync_api")
    if not executable():
        pytest.skip("no Chromium")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 390, "height": 800})
        browser.close()


def test_a_pause_is_raised_and_cleared_and_asystole_waits_for_somebody(address, tab):
    complaints = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(f"{address}/monitor")
    tab.select_option("#speed", "10.0")
    tab.focus("#start")
    tab.keyboard.press("Enter")
    alarms = tab.locator("#alarms li")
    alarms.filter(has_text="pause since").wait_for()
    alarms.filter(has_text="asystole since").wait_for()
    assert tab.locator("#synthetic").is_visible()
    alarms.filter(has_text="asystole: is over, and waits").wait_for()
    tab.locator("#log").filter(has_text="asystole over").wait_for()
    tab.get_by_role("button", name="Acknowledge asystole").press("Enter")
    alarms.filter(has_text="asystole").wait_for(state="detached")
    alarms.filter(has_text="pause").wait_for(state="detached")
    assert tab.locator("#no-alarm").is_visible()
    tab.locator("#log").filter(has_text="end:").wait_for()
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    assert complaints == []


def test_the_page_offers_recordings_by_number_alone(tmp_path):
    (tmp_path / "<b>.csv").write_text("time,II\n0,1\n")
    with served(Settings(recordings=tmp_path)) as address, httpx.Client(base_url=address) as web:
        text = web.get("/monitor").text
        assert "&lt;b&gt;.csv" in text
        assert "<b>.csv" not in text
        for asked in ("recording=2", "recording=-1", "recording=/etc/passwd", "speed=3", "model=1"):
            answer = web.get(f"/monitor/events?{asked}")
            assert answer.status_code == 400
            assert "/etc" not in answer.text
        unread = web.get("/monitor/events?recording=1")
        assert unread.status_code == 400
        assert str(tmp_path) not in unread.text


def test_an_alarm_of_nobodys_monitor_cannot_be_acknowledged():
    with served(Settings()) as address, httpx.Client(base_url=address) as web:
        wrong = {"session": "x", "alarm": "asystole"}
        assert web.post("/monitor/acknowledge", data=wrong).status_code == 404
        assert web.post("/monitor/acknowledge", content=b"\xff" * 5000).status_code in (400, 404)


def test_a_monitor_ends_when_its_page_is_closed():
    settings = Settings()
    with served(settings) as address, httpx.Client(base_url=address) as web:
        for _ in range(10):
            with web.stream("GET", "/monitor/events?recording=0") as answer:
                assert answer.status_code == 200
                assert next(answer.iter_lines()) == "event: start"
            time.sleep(0.05)
