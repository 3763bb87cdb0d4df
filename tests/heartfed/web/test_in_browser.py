"""The pages in a real browser: uploads answered, no complaint of it, keyboard, narrow screens."""

import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import uvicorn
from support import cut_beats
from support.browser import executable, too_wide
from support.web_models import made_signal, served, table

from fl.predict.inference import predict_recording
from fl.predict.input_files import read_record
from fl.reports.number_format import number
from heartfed.web.application import application
from heartfed.web.serve import listening
from heartfed.web.settings import MIB, Settings

pytestmark = pytest.mark.skipif(executable() is None, reason="no Chromium is installed")


def with_v(one):
    """The untrained model with thresholds by which some beats are V and the others N."""
    rule = one.model.rule
    at = {name: 0.2 if name == "V" else 0.9 for name in rule.thresholds["pooled"]}
    rule = rule.model_copy(update={"thresholds": {"pooled": at}})
    return replace(one, model=replace(one.model, rule=rule))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return (
        served(folder, "cnn1d", "rhythm", threshold=0.3),
        with_v(served(folder, "beat_cnn", "beat")),
        served(folder, "cnn1d", "beat-plain", threshold=0.2),
        served(folder, "beat_gru_causal", "beat-causal", threshold=0.2),
    )


@pytest.fixture(scope="module")
def address(models):
    bound = listening("127.0.0.1", 0)
    app = application(Settings(models=models, most_upload=4 * MIB))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
    server.should_exit = True
    thread.join(timeout=30)
    bound.close()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser, address):
    """A page that fails the test for anything the browser complains of, the policy included."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    complaints = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(address)
    yield opened
    context.close()
    # An upload that is refused has a status that the console shows.
    assert [c for c in complaints if "the server responded with a status of 4" not in c] == []


def upload(page, *files, **fields):
    page.set_input_files("#files", list(map(str, files)))
    if fields:
        page.click("summary")
    for name, value in fields.items():
        page.fill(f"#{name}", value)
    page.click("form button[type=submit]")


def test_a_table_with_decimal_commas_is_answered_by_keyboard_and_on_a_narrow_screen(page, tmp_path):
    file = tmp_path / "ward.csv"
    file.write_bytes(table(made_signal(), separator=";", decimal=","))
    page.set_input_files("#files", str(file))
    page.focus("#files")
    for _ in range(20):
        if page.evaluate("document.activeElement.type") == "submit":
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("svg.sheet .beat")
    page.evaluate("document.querySelector('.sheet .beat[tabindex=\"0\"]').focus()")
    first = page.inner_text("#words")
    page.keyboard.press("ArrowRight")
    second = page.inner_text("#words")
    assert "QRS about" in second
    assert first != second
    page.keyboard.press("End")
    assert "9.2" in page.inner_text("#words")  # the last beat is at 9.2 s
    page.locator("svg.sheet .beat .reach").nth(4).hover()
    assert page.inner_text("#words").startswith("3.60 s: ")
    page.locator("table a", has_text="show").first.click()
    page.wait_for_selector("#bands")
    assert page.locator(".bands rect").count() > 0
    page.click("#bands")
    assert not page.locator(".bands").first.is_visible()
    assert page.get_attribute("#bands", "aria-pressed") == "false"
    page.set_viewport_size({"width": 390, "height": 844})
    assert too_wide(page) == []
    with page.expect_download() as download:
        page.click("a[download] >> nth=0")
    assert Path(download.value.path()).read_text().startswith("record,start,end,peak,predicted,")


def test_a_segmented_beat_has_its_class_and_other_models_say_why_not(page, models, tmp_path):
    page.set_viewport_size({"width": 390, "height": 844})
    beat = tmp_path / "beat.csv"
    beat.write_bytes(cut_beats.table(cut_beats.cuts(1)))
    upload(page, beat)
    page.wait_for_selector("table.beats")
    record = read_record(str(beat), None, "", single_beats=True)
    (found,) = predict_recording(
        models[2].model, record, "beat.csv", source="pooled", windows=False, detector=""
    ).findings
    shown = page.inner_text("table.beats")
    assert f"{found.predicted[0]}, samples 0 to 120" in shown
    assert f"{found.predicted[0]} {number(found.p[found.predicted[0]])}" in shown
    assert page.locator("p.answer", has_text="it holds single heartbeats").count() == 3
    assert page.locator("svg.sheet .beat").count() == 1
    assert too_wide(page) == []
    page.locator("table.beats a").first.click()
    page.wait_for_selector("#bands")
    with page.expect_download() as download:
        page.click("a[download] >> nth=0")
    assert "cannot_say" in Path(download.value.path()).read_text()


def test_an_upload_is_replayed_as_a_monitor_would_see_it(page, tmp_path):
    file = tmp_path / "ward.csv"
    file.write_bytes(table(made_signal(30.0)))
    upload(page, file)
    page.get_by_role("button", name="Replay as a monitor would see it").press("Enter")
    page.wait_for_selector("#trace")
    assert page.inner_text("#recording option:checked") == "ward.csv (uploaded)"
    page.locator("#time", has_text=re.compile(r"\d s")).wait_for()  # it began by itself
    page.click("#stop")
    page.select_option("#speed", "60.0")
    page.click("#start")
    page.locator("#log").filter(has_text="end:").wait_for()
    assert re.match("[NSVFQ] ", page.inner_text("#class"))
    page.set_viewport_size({"width": 390, "height": 844})
    assert too_wide(page) == []
    # Forgotten while it is replayed: the replay ends.
    page.select_option("#speed", "1.0")
    page.click("#start")
    page.locator("#time", has_text=re.compile(r"\d s")).wait_for()
    page.evaluate(
        "fetch(document.querySelector('a[href^=\"/answer/\"]').href + '/forget', {method: 'POST'})"
    )
    page.locator("#log").filter(has_text="the upload is no longer kept").wait_for()


def test_a_sound_and_60_mib(page, tmp_path, address):
    page.set_viewport_size({"width": 390, "height": 844})
    assert too_wide(page) == []
    sound = tmp_path / "sound.mp3"
    sound.write_bytes(b"ID3\x04" + bytes(2000))
    upload(page, sound)
    assert "sound.mp3: is an MP3 sound" in page.inner_text("[role=alert]")
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(60 * MIB)
    upload(page, large)
    assert "60.0 MiB; at most 4 MiB" in page.inner_text("#status")
    # The same without the script, which would not have sent it.
    page.evaluate("document.getElementById('upload').dataset.limit = String(2 ** 40)")
    page.click("form button[type=submit]")
    page.wait_for_selector("[role=alert]:has-text('larger than 4 MiB')")


@pytest.mark.real
def test_beats_of_mit_bih_208_are_those_of_predict(page, models, real_data, tmp_path):
    whole = read_record(str(real_data / "mitdb" / "208.hea"), None, "")
    file = tmp_path / "208.csv"
    first = whole.signal[:, : round(60 * whole.fs)]
    file.write_bytes(table(first, ",".join(whole.leads), fs=whole.fs))
    record = read_record(str(file), None, "")
    beats = predict_recording(
        models[1].model, record, "208.csv", source="pooled", windows=False, detector=""
    )
    upload(page, file)
    page.wait_for_selector("table.beats")
    shown = page.inner_text("table.beats")
    inside = [f for f in beats.findings if f.peak < 30 * whole.fs]
    assert len(inside) > 30
    assert any(f.predicted == ("V",) for f in inside)
    for found in inside:
        name = found.predicted[0]
        assert f"{name}, samples {found.start} to {found.end}" in shown
