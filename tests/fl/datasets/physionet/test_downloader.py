"""Downloads from a server on this machine that is laid out like PhysioNet and has faults."""

import hashlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fl.datasets.__main__ import main
from fl.datasets.physionet.checksums import SUMS, altered_files
from fl.datasets.physionet.downloader import Downloader, DownloadError
from fl.datasets.physionet.remotes import REMOTES, Remote
from fl.util.errors import ConfigError, DataError

NAMES = ("100.hea", "100.dat", "100.atr", "101.hea", "101.dat", "101.atr", "RECORDS")
FILES = {f"mitdb/1.0.0/{name}": name.encode() * 30_000 for name in NAMES}
FILES["mitdb/1.0.0/mitdbdir/intro.htm"] = b"not wanted"
G1 = "challenge-2020/1.0.2/training/georgia/g1"
FILES |= {f"{G1}/{name}": name.encode() * 500 for name in ("E00001.hea", "E00001.mat", "RECORDS")}
BEATS = {  # data set -> project, wanted files, and files that the project has beside them
    "svdb": ("svdb/1.0.0", ("800.hea", "800.dat", "800.atr", "RECORDS"), ("800.hea-", "800.atr-")),
    "incart": (
        "incartdb/1.0.0",
        ("I01.hea", "I01.dat", "I01.atr", "RECORDS", "files-patients-diagnoses.txt"),
        ("record-descriptions.txt", "readme.shtml"),
    ),
}
for project, wanted, others in BEATS.values():
    FILES |= {f"{project}/{name}": name.encode() * 500 for name in (*wanted, *others)}
FILES["challenge-2020/1.0.2/training/ptb/g1/S0001.mat"] = b"another data set"


class PhysioNet(ThreadingHTTPServer):
    """Serves FILES; `faults` lists, for each path, the fault of each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.faults: dict[str, list[str]] = {}
        self.requests: Counter[str] = Counter()
        self.ranges: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.hanging, self.release = threading.Event(), threading.Event()
        self.publish()

    def publish(self):
        for project in {"/".join(path.split("/")[:2]) for path in self.files}:
            lines = [
                f"{hashlib.sha256(content).hexdigest()} {path.removeprefix(project + '/')}"
                for path, content in self.files.items()
                if path.startswith(project) and not path.endswith("SHA256SUMS.txt")
            ]
            self.files[f"{project}/SHA256SUMS.txt"] = ("\n".join(lines) + "\n").encode()

    def handle_error(self, request, client_address):
        """Prints nothing: in some tests the client closes the connection."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PhysioNet

    def log_message(self, *arguments):
        """Prints nothing."""

    def do_GET(self):
        path, wanted = self.path.lstrip("/"), self.headers.get("Range", "")
        with self.server.lock:
            self.server.requests[path] += 1
            if wanted:
                self.server.ranges.append((path, wanted))
            faults = self.server.faults.get(path, [])
            fault = faults[0] if faults[:1] == ["always wrong"] else faults.pop(0) if faults else ""
        content = self.server.files.get(path)
        if content is None or fault.isdigit():
            self.answer(int(fault or 404), b"no")
            return
        if "wrong" in fault:
            content = b"?" + content[1:]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start and start >= len(content):
            self.answer(416, b"")
            return
        ranged = bool(start) and fault != "no ranges"
        self.answer(206 if ranged else 200, content[start if ranged else 0 :], start, fault)

    def answer(self, status, body, start=0, fault=""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            shift = 1 if fault == "other range" else 0
            last = start + len(body) - 1
            self.send_header("Content-Range", f"bytes {start + shift}-{last}/{last + 1}")
        if status == 503:
            self.send_header("Retry-After", "0")
        self.end_headers()
        if fault == "drop":
            body = body[: len(body) // 2]
            self.close_connection = True
        if fault == "hang":
            self.wfile.write(body[: len(body) // 2])
            self.server.hanging.set()
            self.server.release.wait(30)
            body = body[len(body) // 2 :]
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")  # requests stay on this machine
    with PhysioNet() as physionet:
        thread = threading.Thread(target=physionet.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield physionet
        physionet.shutdown()
        thread.join()


@pytest.fixture
def fetch(server, tmp_path):
    def run(name="mitdb", **options):
        downloader = Downloader(**{"base_url": server.url, "pause": 0.001, "tries": 4} | options)
        return downloader.fetch(name, tmp_path / name)

    return run


def files_in(tmp_path):
    return [p for p in (tmp_path / "mitdb").iterdir() if p.name != SUMS]


def is_complete(tmp_path):
    files = {p.name: p.read_bytes() for p in files_in(tmp_path)}
    return files == {name: FILES[f"mitdb/1.0.0/{name}"] for name in NAMES}


DAT = "mitdb/1.0.0/100.dat"


def test_the_wanted_files_arrive_as_published(fetch, tmp_path, server):
    assert fetch().fetched == len(NAMES)
    assert is_complete(tmp_path)
    assert server.requests["mitdb/1.0.0/mitdbdir/intro.htm"] == 0


def test_a_data_set_inside_a_project_keeps_its_subfolders(fetch, tmp_path):
    assert fetch("georgia").fetched == 3
    paths = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("E*.*"))
    assert paths == ["georgia/g1/E00001.hea", "georgia/g1/E00001.mat"]


@pytest.mark.parametrize("name", BEATS)
def test_the_beat_databases_arrive_without_their_superseded_files(fetch, tmp_path, name):
    _, wanted, _ = BEATS[name]
    assert fetch(name).fetched == len(wanted)
    assert {p.name for p in (tmp_path / name).iterdir()} == {*wanted, SUMS}


def test_the_command_fetches_both_beat_databases(server, tmp_path, capsys):
    arguments = ["download", "svdb", "incart", "--base-url", server.url]
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.index("Greenwald") < printed.index("4 files fetched")
    assert printed.index("Tihonenko") < printed.index("5 files fetched")


def test_a_complete_file_is_not_fetched_again(fetch, tmp_path, server):
    fetch()
    server.requests.clear()
    assert fetch().kept == len(NAMES)
    assert set(server.requests) == {"mitdb/1.0.0/SHA256SUMS.txt"}


def test_a_file_that_differs_is_replaced(fetch, tmp_path):
    fetch()
    (tmp_path / "mitdb" / "100.dat").write_bytes(b"damaged")
    counts = fetch()
    assert (counts.kept, counts.replaced) == (len(NAMES) - 1, 1)
    assert is_complete(tmp_path)


def test_a_broken_connection_continues_where_it_stopped(fetch, tmp_path, server):
    server.faults[DAT] = ["drop", "drop"]
    fetch()
    assert is_complete(tmp_path)
    starts = [int(r[6:-1]) for path, r in server.ranges if path == DAT]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1]


@pytest.mark.parametrize(
    "faults",
    [["503", "503"], ["429"], ["wrong"], ["drop", "no ranges"], ["drop", "other range"], ["500"]],
)
def test_a_temporary_fault_is_overcome(fetch, tmp_path, server, faults):
    server.faults[DAT] = faults
    assert fetch().fetched == len(NAMES)
    assert is_complete(tmp_path)


def test_a_temporary_fault_of_the_list_of_sums_is_overcome(fetch, tmp_path, server):
    server.faults["mitdb/1.0.0/SHA256SUMS.txt"] = ["503", "drop"]
    fetch()
    assert is_complete(tmp_path)


def test_a_lasting_fault_is_named_and_the_download_can_be_continued(fetch, tmp_path, server):
    server.faults[DAT] = ["drop", "503", "503", "503"]
    with pytest.raises(DownloadError, match=r"100\.dat: status 503, after 4 tries"):
        fetch()
    part = tmp_path / "mitdb" / "100.dat.part"
    assert 0 < part.stat().st_size < len(FILES[DAT])
    counts = fetch()
    assert (counts.fetched, counts.kept) == (1, len(NAMES) - 1)
    assert is_complete(tmp_path)


def test_content_that_is_always_wrong_is_not_kept(fetch, tmp_path, server):
    server.faults[DAT] = ["always wrong"]
    with pytest.raises(DownloadError, match=r"100\.dat: the content differs from its published"):
        fetch()
    assert {p.name for p in files_in(tmp_path)} == set(NAMES) - {"100.dat"}
    assert server.requests[DAT] == 2


@pytest.mark.parametrize("leftover", [b"wrong from the start", b"x" * 999_999])
def test_a_wrong_part_of_an_earlier_run_is_fetched_again(fetch, tmp_path, leftover):
    (tmp_path / "mitdb").mkdir()
    (tmp_path / "mitdb" / "100.dat.part").write_bytes(leftover)
    fetch()
    assert is_complete(tmp_path)


@pytest.mark.parametrize(("status", "problem"), [("404", "not found"), ("403", "answers 403")])
def test_a_refusal_is_named_and_the_rest_arrives(fetch, tmp_path, server, status, problem):
    server.faults[DAT] = [status]
    with pytest.raises(DownloadError, match=rf"100\.dat: .*{problem}"):
        fetch()
    assert len(files_in(tmp_path)) == len(NAMES) - 1
    assert server.requests[DAT] == 1


def test_several_refusals_are_counted(fetch, server):
    server.faults = {path: ["404"] for path in FILES if path.endswith(".atr")}
    with pytest.raises(DownloadError, match="2 of 7 files could not be fetched; the first: http"):
        fetch()


def test_a_project_that_is_missing_is_named(fetch, server):
    del server.files["mitdb/1.0.0/SHA256SUMS.txt"]
    with pytest.raises(DownloadError, match=r"SHA256SUMS\.txt: not found"):
        fetch()


@pytest.mark.parametrize("line", ["0" * 64 + " ../100.dat", "<html>", "zz 100.dat"])
def test_a_list_with_paths_out_of_the_folder_is_refused(fetch, tmp_path, server, line, monkeypatch):
    server.files["mitdb/1.0.0/SHA256SUMS.txt"] = line.encode()
    monkeypatch.setitem(REMOTES, "mitdb", Remote(project="mitdb/1.0.0", wanted=".*", size=1))
    with pytest.raises(DownloadError, match=r"unexpected line|lists no file"):
        fetch()
    assert not (tmp_path / "mitdb").exists()


def test_a_full_disk_is_noticed_before_the_first_byte(fetch, server, monkeypatch):
    remote = Remote(project="mitdb/1.0.0", wanted=r".*\.dat", size=10**12)
    monkeypatch.setitem(REMOTES, "mitdb", remote)
    with pytest.raises(DataError, match="GB are needed and"):
        fetch()
    assert server.requests[DAT] == 0


def test_a_folder_in_the_place_of_a_file_is_named(fetch, tmp_path):
    (tmp_path / "mitdb" / "100.dat" / "full").mkdir(parents=True)
    with pytest.raises(DataError, match=r"100\.dat: cannot be written"):
        fetch()


def test_an_interrupted_download_is_continued(server, tmp_path):
    folder = tmp_path / "mitdb"
    calls = []

    def interrupt(done, _total):
        calls.append(done)
        raise KeyboardInterrupt

    downloader = Downloader(base_url=server.url, jobs=1)
    with pytest.raises(KeyboardInterrupt):
        downloader.fetch("mitdb", folder, interrupt)
    assert len(calls) == 1
    counts = Downloader(base_url=server.url).fetch("mitdb", folder)
    assert counts.kept >= 1
    assert is_complete(tmp_path)


def test_a_server_that_does_not_answer_is_named(tmp_path, server):
    no_server = Downloader(base_url="http://127.0.0.1:9", tries=2, pause=0.001)
    with pytest.raises(DownloadError, match="after 2 tries"):
        no_server.fetch("mitdb", tmp_path)


@pytest.mark.parametrize("url", ["ftp://x", "physionet.org", "http://", "http://x:port"])
def test_an_invalid_address_is_explained(tmp_path, url):
    with pytest.raises(ConfigError, match="--base-url"):
        Downloader(base_url=url).fetch("mitdb", tmp_path)


def test_the_command_prints_licence_and_citation_first(server, tmp_path, capsys):
    arguments = ["download", "mitdb", "--base-url", f"{server.url}/", "--data-dir", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.index("ODC-By") < printed.index("Moody") < printed.index("7 files fetched")


def test_the_command_refuses_unknown_names_before_it_fetches(server, tmp_path, capsys):
    arguments = ["download", "mitdb", "cpsc2018-lead1", "--base-url", server.url]
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 2
    assert "cpsc2018-lead1 cannot be downloaded. Known: " in capsys.readouterr().err
    assert not server.requests


def test_a_failed_download_is_not_a_users_mistake(server, tmp_path, capsys):
    del server.files["mitdb/1.0.0/SHA256SUMS.txt"]
    arguments = ["download", "mitdb", "--base-url", server.url, "--data-dir", str(tmp_path)]
    assert main(arguments) == 1
    assert "not found (404)" in capsys.readouterr().err


def test_a_file_that_changes_later_is_found(fetch, tmp_path):
    fetch()
    assert altered_files(tmp_path / "mitdb") == []
    (tmp_path / "mitdb" / "101.atr").write_bytes(b"damaged")
    assert altered_files(tmp_path / "mitdb") == ["101.atr"]
    with (tmp_path / "mitdb" / SUMS).open("a") as file:
        file.write("0 ../../etc/passwd\n0 /etc/passwd\nnothing\n")
    assert altered_files(tmp_path / "mitdb") == ["101.atr"]


def test_after_ctrl_c_the_download_can_be_continued(server, tmp_path, capsys):
    server.faults[DAT] = ["hang"]
    command = [sys.executable, "-m", "fl.datasets", "download", "mitdb", "--base-url", server.url]
    started = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # A shell that runs the tests in the background may have made them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert server.hanging.wait(30)
        while not (tmp_path / "mitdb" / "100.dat.part").exists():
            time.sleep(0.01)
        started.send_signal(signal.SIGINT)
        server.release.set()
        _, errors = started.communicate(timeout=30)
    finally:
        started.kill()
        started.wait()
    assert started.returncode == 130
    assert errors.decode().strip() == "interrupted: the same command continues from here"
    Downloader(base_url=server.url).fetch("mitdb", tmp_path / "mitdb")
    assert is_complete(tmp_path)


def test_every_challenge_file_name_is_needed():
    wanted = REMOTES["ningbo"].wanted
    assert all(
        re.fullmatch(wanted, path)
        for path in ("g1/JS00001.hea", "g12/S0001.mat", "A0001.mat", "g1/RECORDS")
    )
