"""A recording is uploaded, answered and explained; whatever else is, is refused in words."""

import csv
import io
import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import cut_beats
from support.hospital_files import WRITERS, secrets_in, stored
from support.small_records import write
from support.web_client import WebClient, pieces
from support.web_models import made_signal, served, table

from fl.predict.inference import predict_recording
from fl.predict.input_files import read_record
from fl.reports.number_format import number
from heartfed.web.application import application
from heartfed.web.settings import MIB, Settings
from heartfed.web.upload import reading
from heartfed.web.upload.received import safe_name


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    rhythm = served(folder, "cnn1d", "rhythm", threshold=0.3)
    return rhythm, served(folder, "beat_cnn", "beat")


@pytest.fixture(scope="module")
def web(models):
    client = WebClient(application(Settings(models=models, most_upload=2 * MIB)))
    yield client
    client.close()


def text_of(answer):
    """A page's text without its marks, on one line."""
    plain = re.sub(r"<[^>]*>", " ", answer.text).replace("&#39;", "'").replace("&#34;", '"')
    return re.sub(r"\s+", " ", plain)


TABLES = {
    "times": (table(made_signal()), {}),
    "semicolons, decimal commas": (table(made_signal(), separator=";", decimal=","), {}),
    "tabs, microvolts": (
        table(made_signal(), "I [uV],II [uV]", separator="\t", scale=1000.0),
        {},
    ),
    "units in headings": (table(made_signal(), "I [mV],II [mV]", time="t [s]"), {}),
    "volts": (table(made_signal(), scale=0.001), {"unit": "V"}),
    "no times": (table(made_signal(), fs=None), {"fs": "250"}),
    "decimal comma in the form": (table(made_signal(), fs=None), {"fs": "250,0"}),
    "no header": (table(made_signal(), "", fs=None), {"fs": "250", "leads": "I, II"}),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_answered_however_it_is_written(web, name):
    content, fields = TABLES[name]
    answer = web.upload(("ward 3.csv", content), **fields)
    assert answer.status_code == 200, text_of(answer)
    text = text_of(answer)
    assert "2 leads (I, II), 250 Hz, 10.0 s." in text
    assert "Research software, not a medical device" in text
    assert answer.text.count('class="trace"') == 2


def test_beats_and_classes_are_those_of_predict(web, models, tmp_path):
    (tmp_path / "a.csv").write_bytes(table(made_signal()))
    answer = web.upload(("a.csv", (tmp_path / "a.csv").read_bytes()))
    record = read_record(str(tmp_path / "a.csv"), None, "")
    rhythm, beats = (
        predict_recording(m.model, record, "a.csv", source="pooled", windows=False, detector="")
        for m in models
    )
    text = text_of(answer)
    assert len(beats.findings) == 12
    for beat in beats.findings:
        assert f"{beat.predicted[0]} , samples {beat.start} to {beat.end}" in text
    for name, p in rhythm.findings[0].p.items():
        assert re.search(rf"{name} {p:.3f}".replace("0.", r"\."), text)
    page = str(answer.url.path)
    found = json.loads(web.get(f"{page}/1.json").text)
    assert [f["start"] for f in found["records"][0]["findings"]] == [
        f.start for f in beats.findings
    ]
    rows = list(csv.DictReader(io.StringIO(web.get(f"{page}/0.csv").text)))
    assert rows[0]["p_AF"] == f"{rhythm.findings[0].p['AF']:.7f}"
    assert web.get(f"{page}/7.csv").status_code == 404
    assert web.get(f"{page}/0.xls").status_code == 404


def test_a_beat_shows_its_features_in_words_and_may_be_explained(web):
    answer = web.upload(("a.csv", table(made_signal())))
    words = re.findall(r'data-words="([^"]*)"', answer.text)
    assert len(words) == 12
    assert re.search(
        r"N, probability [.\d]+, samples \d+ to \d+\. on time, QRS about \d+ ms", words[5]
    )
    page = answer.url.path
    for query in ("model=0&finding=0&class=AF", "model=1&finding=3&class=N"):
        explained = web.get(f"{page}?{query}")
        assert "Where the model looked" in explained.text
        assert re.search(r'class="(for|against) level-\d"', explained.text)
    for query in ("model=9&finding=0&class=AF", "model=0&finding=99&class=AF", "part=99999"):
        assert web.get(f"{page}?{query}").status_code == 200
    for query in ("model=-1&finding=x&class=<b>", "part=" + "9" * 50, "model=0&finding=0&class=x"):
        again = web.get(f"{page}?{query}")
        assert again.status_code == 200
        assert "<b>" not in again.text


@pytest.mark.parametrize("file", ["beat.csv", "line.csv"])
def test_a_single_beat_is_drawn_and_not_answered_by_models_that_need_more(web, file):
    beat = made_signal(1.0, 250.0, 1)[:, :187]
    content = table(beat, "II", fs=None)
    fields = {"fs": "250"}
    if file == "line.csv":
        content, fields = ",".join(f"{v:.4f}" for v in beat[0]).encode(), fields | {"leads": "II"}
    answer = web.upload((file, content), **fields)
    assert answer.status_code == 200, text_of(answer)
    text = text_of(answer)
    assert text.count("Cannot say : it holds single heartbeats, cut out of recordings") == 2
    assert text.count("A model of the task beat-plain answers single beats") == 2
    assert "1 single heartbeat, cut out of recordings; lead II, 250 Hz." in text
    assert answer.text.count('class="trace"') == 1
    (words,) = re.findall(r'data-words="([^"]*)"', answer.text)
    place = "line 1" if file == "line.csv" else r"0\.00 s"
    assert re.fullmatch(rf"{place}: QRS about \d+ ms wide", words)
    assert "replayed" not in text


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The application with a model of single beats, and one that needs more."""
    folder = tmp_path_factory.mktemp("plain")
    models = tuple(served(folder, "cnn1d", task, 0.2) for task in ("beat-plain", "rhythm"))
    client = WebClient(application(Settings(models=models, most_upload=2 * MIB)))
    yield client
    client.close()


def test_single_beats_are_answered_line_by_line(plain):
    beats = cut_beats.cuts(30)
    beats[2] = 0.5  # flat
    answer = plain.upload(("beats.csv", cut_beats.table(beats, label="1.000000")))
    text = text_of(answer)
    assert "30 single heartbeats, cut out of recordings; lead II, 125 Hz." in text
    assert "as Kachuee et al. 2018" in text
    assert "is taken for a class" in text
    assert "cannot say: its signal is flat" in text
    assert "Part 1 of 1" not in text
    rows = list(csv.DictReader(io.StringIO(plain.get(f"{answer.url.path}/0.csv").text)))
    assert [row["record"] for row in rows] == [f"beats.csv:{i}" for i in range(1, 31)]
    first = rows[0]
    assert f"line 1 {first['predicted']} , samples 0 to 120" in text
    p = ", ".join(f"{c} {number(float(first[f'p_{c}']))}" for c in "NSVFQ")
    assert p in text
    found = json.loads(plain.get(f"{answer.url.path}/0.json").text)["records"][0]["findings"]
    assert [f["line"] for f in found] == list(range(1, 31))
    why = plain.get(f"{answer.url.path}?model=0&finding=4&class=N")
    assert "Where the model looked" in why.text
    assert re.search(r'class="(for|against) level-\d"', why.text)
    none = json.loads(plain.get(f"{answer.url.path}/1.json").text)["records"][0]
    assert none["cannot_say"].startswith("it holds single heartbeats")


def test_hostile_tables_of_beats_are_answered_in_words(plain, monkeypatch):
    beats = cut_beats.table(cut_beats.cuts(3))
    many = b"\n".join([beats] * 4)
    monkeypatch.setattr(reading, "MOST_BEATS", 10)
    assert "has 12 heartbeats; up to 10 are shown" in text_of(plain.upload(("a.csv", many)))
    for content, fields in (
        (beats.replace(b",", b"<b>,", 1), {}),
        (beats, {"fs": "999999.999", "leads": "II"}),
        (beats, {"fs": "0.001", "leads": "II"}),
        (beats, {"leads": "<b>"}),
        (b",".join([b"1e308"] * 187), {"fs": "125", "leads": "II"}),
        (b",".join([b"-1e308,1e308"] * 100), {"fs": "125", "leads": "II"}),
        (b"\n".join([b"," * 186] * 3), {}),
        (b"\n".join([b"0," * 186 + b"0"] * 3), {}),
        (b",".join(str(i).encode() for i in range(187)), {"fs": "125", "leads": "II"}),
    ):
        answer = plain.upload(("a.csv", content), **fields)
        assert answer.status_code in (200, 422), text_of(answer)
        assert "<b>" not in answer.text
        assert "in HeartFed" not in answer.text


def test_a_wfdb_record_is_its_header_and_its_data_together(web, tmp_path):
    write(tmp_path, "x100", leads=("I", "II"))
    parts = {name: (tmp_path / name).read_bytes() for name in ("x100.hea", "x100.dat")}
    answer = web.upload(*parts.items())
    assert answer.status_code == 200, text_of(answer)
    for name in parts:
        alone = web.upload((name, parts[name]))
        assert alone.status_code == 422
        assert "x100" in text_of(alone)
    two = web.upload(*parts.items(), ("y.csv", table(made_signal())))
    assert "no single recording" in text_of(two)


@pytest.mark.parametrize("name", WRITERS)
def test_a_hospitals_file_is_read_and_nothing_of_the_patient_shown(web, tmp_path, name):
    WRITERS[name](tmp_path / "ecg", stored(8))
    answer = web.upload(("ecg", (tmp_path / "ecg").read_bytes()))
    assert answer.status_code == 200, text_of(answer)
    assert "12 leads" in text_of(answer)
    page = answer.url.path
    assert not secrets_in(
        answer.text, web.get(f"{page}/0.json").text, web.get(f"{page}/1.csv").text
    )


REFUSED = {
    "sound.mp3": (b"ID3\x04" + bytes(2000), "is an MP3 sound"),
    "sound.csv": (b"\xff\xfb\x90\x64" + bytes(2000), "is an MP3 sound"),
    "empty.csv": (b"", "is empty"),
    "words.csv": (b"name,diagnosis\nQuixwind,3\n", "without the name of a lead"),
    "letter.txt": (b"Dear colleague,\nthe patient Quixwind\n", "without the name of a lead"),
    "nofs.csv": (b"I,II\n1,2\n2,3\n", "Give “Sampling rate”, in Hz"),
    "text.csv": (b"I,II\n1,2\nQuixwind,3\n", "line 3 is not all numbers: a text"),
    "short.csv": (table(made_signal(3.0)), "3.0 s; at least 5 s"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_words(web, name):
    content, words = REFUSED[name]
    answer = web.upload((name, content))
    assert answer.status_code == 422
    text = text_of(answer)
    assert f"Cannot be read: {name}: " in text
    assert words in text
    assert "Quixwind" not in text
    assert "/dev/shm" not in text
    assert "--" not in text


def test_no_file_and_no_form_are_refused(web):
    assert "No file was chosen" in text_of(web.post("/answer", files=[("fs", (None, b"360"))]))
    assert web.post("/answer", content=b"x").status_code == 415
    head = {"content-type": "multipart/form-data"}
    assert web.post("/answer", content=b"x", headers=head).status_code == 400
    head = {"content-type": "multipart/form-data; boundary=b"}
    assert web.post("/answer", content=b"--b\r\nrubbish", headers=head).status_code in (400, 422)
    many = [("files", (f"{i}.csv", b"1")) for i in range(30)]
    assert web.post("/answer", files=many).status_code == 400
    assert web.get("/answer").headers["location"] == "/"


FILE_NAMES = {
    "../../etc/passwd": "passwd",
    "C:\\ward\\x.csv": "x.csv",
    "=cmd|' /C calc'!A0.csv": "A0.csv",
    "<script>alert(1)</script>.csv": "script_.csv",
    '"><img src=x>.csv': "img_src_x_.csv",
    "\x00\r\nSet-Cookie: a=b.csv": "Set-Cookie__a_b.csv",
    "...": "recording",
    "": "recording",
    "ä" * 300 + ".csv": "ä" * 80 + ".csv",
}


@pytest.mark.parametrize("name", FILE_NAMES)
def test_a_hostile_file_name_is_harmless(web, name):
    safe = safe_name(name)
    assert re.fullmatch(r"(\w[\w.-]{0,90})", safe)
    answer = web.upload((name or "x", table(made_signal())))
    if answer.status_code == 200:
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
        rows = web.get(f"{answer.url.path}/0.csv").text.splitlines()
        assert re.match(r"\w[\w.-]*,0,2500,", rows[1])
    else:
        assert answer.status_code == 422


@pytest.mark.parametrize(
    "header", ["<b>x</b>,II", '"=cmd()",II', "I,II [<i>]", "I,II\x1b[31m", "time,I,<script>"]
)
def test_hostile_headings_are_harmless(web, header):
    answer = web.upload(("a.csv", table(made_signal(), header, fs=None)), fs="250")
    assert answer.status_code in (200, 422)
    assert not re.search(r"<(b|i|script)>|\x1b", answer.text)


@settings(max_examples=25)
@given(
    content=st.binary(max_size=300)
    | st.text("0123456789.,;\t\n-eInVaR[] \"'#", max_size=200).map(str.encode)
    | st.sampled_from([b"I,II\n", b"time,II\n", b"II;V1\n"]).flatmap(
        lambda head: st.binary(max_size=100).map(lambda rest: head + rest)
    ),
    name=st.text(max_size=30),
    fs=st.sampled_from(["", "360", "x", "1e9", "-1", "0"]) | st.text(max_size=8),
    leads=st.sampled_from(["", "I", "II,V1"]) | st.text(max_size=8),
)
def test_no_upload_is_a_servers_error(web, content, name, fs, leads):
    files = [("files", (name, content)), ("fs", (None, fs)), ("leads", (None, leads))]
    answer = web.post("/answer", files=files, follow_redirects=True)
    assert answer.status_code in (200, 400, 422)
    assert "Traceback" not in answer.text
    if answer.status_code == 422:
        assert "Cannot be read: " in answer.text


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=15)
@given(
    lines=st.lists(st.lists(NUMBERS, min_size=30, max_size=30), min_size=1, max_size=4),
    fs=st.sampled_from(["125", "15.1", "360", "100000.001"]),
    unit=st.sampled_from(["", "NU", "uV"]),
)
def test_no_table_of_beats_is_a_servers_error(plain, lines, fs, unit):
    content = "\n".join(",".join(map(repr, line)) for line in lines).encode()
    answer = plain.upload(("a.csv", content), fs=fs, unit=unit, leads="II")
    assert answer.status_code in (200, 422)
    assert "in HeartFed" not in answer.text
    if answer.status_code == 200:
        assert "NaN" not in plain.get(f"{answer.url.path}/0.json").text


@settings(max_examples=40)
@given(body=st.binary(max_size=200), boundary=st.text(max_size=20))
def test_no_body_is_a_servers_error(web, body, boundary):
    kind = f"multipart/form-data; boundary={boundary}".encode()
    headers = {"content-type": kind.replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")}
    for content in (
        body,
        b"--b\r\n" + body,
        b'--b\r\nContent-Disposition: form-data; name="files"; '
        b'filename="x.csv"\r\n\r\n' + body + b"\r\n--b--\r\n",
    ):
        answer = web.post("/answer", content=content, headers=headers, follow_redirects=True)
        assert answer.status_code in (200, 400, 413, 422)


@pytest.mark.parametrize("length", [True, False])
def test_60_mib_are_refused_while_they_come_and_never_held(web, length):
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.csv"\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    if length:
        headers["content-length"] = str(60 * MIB)

    async def body():
        yield head
        async for piece in pieces(b"1,2\n" * 16384, 960):
            yield piece

    tracemalloc.start()
    answer = web.post("/answer", content=body(), headers=headers)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code == 413
    assert "larger than 2 MiB" in text_of(answer)
    assert peak < 12 * MIB


def test_nothing_of_an_upload_stays_on_a_disk(web, tmp_path, monkeypatch):
    seen = []
    read_record_itself = reading.read_record

    def watched(path, *options, **more):
        folder = Path(path).parent
        seen.append((folder, folder.stat().st_mode & 0o777))
        return read_record_itself(path, *options, **more)

    monkeypatch.setattr(reading, "read_record", watched)
    monkeypatch.setattr(reading, "MEMORY", tmp_path)
    web.upload(("a.csv", table(made_signal())))
    web.upload(("b.csv", b"I,II\nx,y\n"), fs="100")
    assert [(folder.parent, mode) for folder, mode in seen] == [(tmp_path, 0o700)] * 2
    assert list(tmp_path.iterdir()) == []


def test_twenty_uploads_at_once_are_all_answered(web):
    signal = made_signal(6.0, 100.0)
    files = [[("files", (f"{i}.csv", table(signal * (1 + i / 20), fs=100.0)))] for i in range(20)]
    answers = web.all(("POST", "/answer", {"files": f, "follow_redirects": True}) for f in files)
    assert [a.status_code for a in answers] == [200] * 20
    assert all(f"<h1>{i}.csv</h1>" in a.text for i, a in enumerate(answers))


def test_a_recording_that_is_too_long_is_refused_with_its_length(web, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST", 7200.0)
    content = table(np.tile(made_signal(20.0, 2.0, 1), 400), "II", fs=2.0)
    answer = web.upload(("a.csv", content))
    assert answer.status_code == 422
    assert "lasts 2 hours; up to 2 are shown" in text_of(answer)


def test_a_long_recording_has_parts_and_a_summary(web):
    answer = web.upload(("a.csv", table(made_signal(75.0, 100.0), fs=100.0)))
    text = text_of(answer)
    assert "Part 1 of 3" in text
    assert "By the hour" in text
    last = web.get(f"{answer.url.path}?part=3")
    assert "Signal, 0:01:00 to 0:01:15" in text_of(last)
    assert "Later" not in text_of(last)


def test_an_answer_is_forgotten_when_asked_for(web):
    page = web.upload(("a.csv", table(made_signal()))).url.path
    assert web.get(page).status_code == 200
    assert web.post(f"{page}/forget").status_code == 303
    gone = web.get(page)
    assert gone.status_code == 410
    assert "Upload the recording again" in text_of(gone)
    assert web.get(f"{page}/0.csv").status_code == 410


def test_without_a_model_the_page_names_the_command():
    web = WebClient(application(Settings()))
    assert "heartfed serve --weights" in web.get("/").text
    answer = web.upload(("a.csv", b"I\n1\n"))
    assert answer.status_code == 409
    assert "No model is loaded" in answer.text
    web.close()
