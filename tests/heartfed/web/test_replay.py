"""An upload on the monitor's page: from memory, while it is kept, and only where it makes sense."""

import json

import pytest
from support import cut_beats
from support.web_client import WebClient
from support.web_models import made_signal, served, table

from heartfed.web.application import application
from heartfed.web.settings import OneTimeToken, Settings

CSV = ("ward.csv", table(made_signal(12.0)))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return tuple(
        served(folder, network, task)
        for network, task in (("beat_gru_causal", "beat-causal"), ("cnn1d", "beat-plain"))
    )


@pytest.fixture
def web(models):
    client = WebClient(application(Settings(models=models)))
    yield client
    client.close()


def key_of(answer):
    return answer.url.path.rpartition("/")[2]


def messages(text):
    """Name and content of each server-sent event."""
    parts = [part.split("\n", 1) for part in text.strip().split("\n\n")]
    return [(n.removeprefix("event: "), json.loads(d.removeprefix("data: "))) for n, d in parts]


def test_its_samples_and_beats_are_those_of_the_upload(web):
    answer = web.upload(CSV)
    key = key_of(answer)
    assert "Replay as a monitor would see it" in answer.text
    page = web.get(f"/monitor?upload={key}")
    assert '<option value="upload" selected>ward.csv (uploaded)' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    asked = f"/monitor/events?recording=upload&upload={key}&model=1&speed=60.0"
    found = messages(web.get(asked).text)
    assert [found[0][0], found[-1][0]] == ["start", "end"]
    assert found[0][1]["seconds"] == 12.0
    events = [event for _, content in found for event in content.get("events", [])]
    assert sum(event["event"] == "beat" for event in events) >= 9
    assert any(event.get("class") for event in events)


def test_it_is_gone_when_the_upload_is(web):
    key = key_of(web.upload(CSV))
    web.post(f"/answer/{key}/forget")
    page = web.get(f"/monitor?upload={key}")
    assert page.status_code == 410
    assert "no longer kept" in page.text
    gone = web.get(f"/monitor/events?recording=upload&upload={key}")
    assert gone.status_code == 400
    for wrong in ("recording=upload", "recording=upload&upload=..%2F..%2Fetc", "recording=-1"):
        assert web.get(f"/monitor/events?{wrong}").status_code == 400
    hostile = web.get("/monitor?upload=%22%3E%3Cscript%3E")
    assert hostile.status_code == 410
    assert "<script>" not in hostile.text


@pytest.mark.parametrize(
    ("file", "fields", "why"),
    [
        (("beats.csv", cut_beats.table(cut_beats.cuts(2))), {}, "there is no recording in it"),
        (CSV, {"unit": "NU"}, "a monitor needs a signal in mV"),
    ],
)
def test_what_a_monitor_cannot_use_has_no_button(web, file, fields, why):
    answer = web.upload(file, **fields)
    assert answer.status_code == 200
    assert "Replay as" not in answer.text
    for path in ("/monitor?upload=", "/monitor/events?recording=upload&upload="):
        refused = web.get(f"{path}{key_of(answer)}")
        assert refused.status_code == 400
        assert why in refused.text


def test_without_a_model_of_the_monitor_it_is_not_offered(models):
    web = WebClient(application(Settings(models=models[1:])))
    answer = web.upload(CSV)
    assert "Replay as" not in answer.text
    assert "no model of the task beat-causal is served" in answer.text
    web.close()


def test_beyond_this_machine_a_token_is_needed(models):
    app = application(Settings(models=models, token=OneTimeToken(), beyond_loopback=True))
    web = WebClient(app)
    assert web.get("/monitor/events?recording=upload&upload=x").status_code == 403
    web.close()
