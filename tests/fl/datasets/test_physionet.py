"""Downloads from a server on this machine that is laid out like PhysioNet and misbehaves."""

import hashlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fl.datasets import physionet
from fl.datasets.__main__ import main
from fl.datasets.physionet import Downloader, DownloadError, Remote
from fl.util.errors import ConfigError, DataError

NAMES = ("100.hea", "100.dat", "100.atr", "101.hea", "101.dat", "101.atr", "RECORDS")
FILES = {f"mitdb/1.0.0/{name}": name.encode() * 30_000 for name in NAMES}
FILES["mitdb/1.0.0/mitdbdir/intro.htm"] = b"not wanted"
G1 = "challenge-2020/1.0.2/training/georgia/g1"
FILES |= {f"{G1}/{name}": name.encode() * 500 for name in ("E00001.hea", "E00001.mat", "RECORDS")}
FILES["challenge-2020/1.0.2/training/ptb/g1/S0001.mat"] = b"another data set"


class PhysioNet(ThreadingHTTPServer):
    """Serves FILES; `faults` says how often each path misbehaves, and how."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.faults: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.ranges: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.hanging, self.release = threading.Event(), threading.Event()
        self.publish()

    def publish(self):
        for project in ("mitdb/1.0.0", "challenge-2020/1.0.2"):
            lines = [
                f"{hashlib.sha256(content).hexdigest()} {path.removeprefix(project + '/')}"
                for path, content in self.files.items()
                if path.startswith(project) and not path.endswith("SHA256SUMS.txt")
            ]
            self.files[f"{project}/SHA256SUMS.txt"] = ("\n".join(lines) + "\n").encode()

    def handle_error(self, request, client_address):
        """A client that hangs up is what some tests are about."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PhysioNet

    def log_message(self, *arguments):
        """Stays silent."""

    def do_GET(self):
        path, asked = self.path.lstrip("/"), self.headers.get("Range", "")
        with self.server.lock:
            self.server.asked[path] += 1
            if asked:
                self.server.ranges.append((path, asked))
            faults = self.server.faults.get(path, [])
            fault = faults[0] if faults[:1] == ["always wrong"] else faults.pop(0) if faults else ""
        content = self.server.files.get(path)
        if content is None or fault.isdigit():
            self.answer(int(fault or 404), b"no")
            return
        if "wrong" in fault:
            content = b"?" + content[1:]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
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
    monkeypatch.setenv("NO_PROXY", "*")  # nothing here leaves this machine
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
    return [p for p in (tmp_path / "mitdb").iterdir() if p.name != physionet.SUMS]


def is_whole(tmp_path):
    there = {p.name: p.read_bytes() for p in files_in(tmp_path)}
    return there == {name: FILES[f"mitdb/1.0.0/{name}"] for name in NAMES}


DAT = "mitdb/1.0.0/100.dat"


def test_the_wanted_files_arrive_as_published(fetch, tmp_path, server):
    assert fetch().fetched == len(NAMES)
    assert is_whole(tmp_path)
    assert server.asked["mitdb/1.0.0/mitdbdir/intro.htm"] == 0


def test_a_data_set_inside_a_project_keeps_its_subfolders(fetch, tmp_path):
    assert fetch("georgia").fetched == 3
    paths = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("E*.*"))
    assert paths == ["georgia/g1/E00001.hea", "georgia/g1/E00001.mat"]


def test_a_whole_file_is_not_fetched_again(fetch, tmp_path, server):
    fetch()
    server.asked.clear()
    assert fetch().kept == len(NAMES)
    assert set(server.asked) == {"mitdb/1.0.0/SHA256SUMS.txt"}


def test_a_file_that_differs_is_replaced(fetch, tmp_path):
    fetch()
    (tmp_path / "mitdb" / "100.dat").write_bytes(b"damaged")
    done = fetch()
    assert (done.kept, done.replaced) == (len(NAMES) - 1, 1)
    assert is_whole(tmp_path)


def test_a_broken_connection_goes_on_where_it_stopped(fetch, tmp_path, server):
    server.faults[DAT] = ["drop", "drop"]
    fetch()
    assert is_whole(tmp_path)
    starts = [int(r[6:-1]) for path, r in server.ranges if path == DAT]
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1]


@pytest.mark.parametrize(
    "faults",
    [["503", "503"], ["429"], ["wrong"], ["drop", "no ranges"], ["drop", "other range"], ["500"]],
)
def test_passing_trouble_is_overcome(fetch, tmp_path, server, faults):
    server.faults[DAT] = faults
    assert fetch().fetched == len(NAMES)
    assert is_whole(tmp_path)


def test_the_list_itself_may_be_late(fetch, tmp_path, server):
    server.faults["mitdb/1.0.0/SHA256SUMS.txt"] = ["503", "drop"]
    fetch()
    assert is_whole(tmp_path)


def test_trouble_without_end_is_named_and_can_be_resumed(fetch, tmp_path, server):
    server.faults[DAT] = ["drop", "503", "503", "503"]
    with pytest.raises(DownloadError, match=r"100\.dat: status 503, after 4 tries"):
        fetch()
    part = tmp_path / "mitdb" / "100.dat.part"
    assert 0 < part.stat().st_size < len(FILES[DAT])
    done = fetch()
    assert (done.fetched, done.kept) == (1, len(NAMES) - 1)
    assert is_whole(tmp_path)


def test_content_that_is_always_wrong_is_not_kept(fetch, tmp_path, server):
    server.faults[DAT] = ["always wrong"]
    with pytest.raises(DownloadError, match=r"100\.dat: the content differs from its published"):
        fetch()
    left = {p.name for p in files_in(tmp_path)}
    assert left == set(NAMES) - {"100.dat"}
    assert server.asked[DAT] == 2


@pytest.mark.parametrize("leftover", [b"wrong from the start", b"x" * 999_999])
def test_a_leftover_that_is_wrong_is_fetched_anew(fetch, tmp_path, leftover):
    (tmp_path / "mitdb").mkdir()
    (tmp_path / "mitdb" / "100.dat.part").write_bytes(leftover)
    fetch()
    assert is_whole(tmp_path)


@pytest.mark.parametrize(("status", "problem"), [("404", "not found"), ("403", "answers 403")])
def test_a_refusal_is_named_and_the_rest_arrives(fetch, tmp_path, server, status, problem):
    server.faults[DAT] = [status]
    with pytest.raises(DownloadError, match=rf"100\.dat: .*{problem}"):
        fetch()
    assert len(files_in(tmp_path)) == len(NAMES) - 1
    assert server.asked[DAT] == 1


def test_several_refusals_are_counted(fetch, server):
    server.faults = {path: ["404"] for path in FILES if path.endswith(".atr")}
    with pytest.raises(DownloadError, match="2 of 7 files could not be fetched; the first: http"):
        fetch()


def test_a_project_that_moved_is_named(fetch, server):
    del server.files["mitdb/1.0.0/SHA256SUMS.txt"]
    with pytest.raises(DownloadError, match=r"SHA256SUMS\.txt: not found"):
        fetch()


@pytest.mark.parametrize("line", ["0" * 64 + " ../100.dat", "<html>", "zz 100.dat"])
def test_a_list_that_leads_elsewhere_is_not_followed(fetch, tmp_path, server, line, monkeypatch):
    server.files["mitdb/1.0.0/SHA256SUMS.txt"] = line.encode()
    monkeypatch.setitem(
        physionet.REMOTES, "mitdb", Remote(project="mitdb/1.0.0", wanted=".*", size=1)
    )
    with pytest.raises(DownloadError, match=r"unexpected line|lists no file"):
        fetch()
    assert not (tmp_path / "mitdb").exists()


def test_a_full_disk_is_noticed_before_the_first_byte(fetch, server, monkeypatch):
    remote = Remote(project="mitdb/1.0.0", wanted=r".*\.dat", size=10**12)
    monkeypatch.setitem(physionet.REMOTES, "mitdb", remote)
    with pytest.raises(DataError, match="GB are needed and"):
        fetch()
    assert server.asked[DAT] == 0


def test_a_folder_in_a_files_place_is_named(fetch, tmp_path):
    (tmp_path / "mitdb" / "100.dat" / "full").mkdir(parents=True)
    with pytest.raises(DataError, match=r"100\.dat: cannot be written"):
        fetch()


def test_an_interrupted_download_is_resumed(server, tmp_path):
    folder = tmp_path / "mitdb"
    seen = []

    def interrupt(done, _total):
        seen.append(done)
        raise KeyboardInterrupt

    downloader = Downloader(base_url=server.url, jobs=1)
    with pytest.raises(KeyboardInterrupt):
        downloader.fetch("mitdb", folder, interrupt)
    assert len(seen) == 1
    done = Downloader(base_url=server.url).fetch("mitdb", folder)
    assert done.kept >= 1
    assert is_whole(tmp_path)


def test_a_server_that_is_not_there_is_named(tmp_path, server):
    unused = Downloader(base_url="http://127.0.0.1:9", tries=2, pause=0.001)
    with pytest.raises(DownloadError, match="after 2 tries"):
        unused.fetch("mitdb", tmp_path)


@pytest.mark.parametrize("url", ["ftp://x", "physionet.org", "http://", "http://x:port"])
def test_an_address_that_is_none_is_explained(tmp_path, url):
    with pytest.raises(ConfigError, match="--base-url"):
        Downloader(base_url=url).fetch("mitdb", tmp_path)


def test_the_command_prints_licence_and_citation_first(server, tmp_path, capsys):
    arguments = ["download", "mitdb", "--base-url", f"{server.url}/", "--data-dir", str(tmp_path)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.index("ODC-By") < shown.index("Moody") < shown.index("7 files fetched")


def test_the_command_refuses_unknown_names_before_it_fetches(server, tmp_path, capsys):
    arguments = ["download", "mitdb", "cpsc2018-lead1", "--base-url", server.url]
    assert main([*arguments, "--data-dir", str(tmp_path)]) == 2
    assert "cpsc2018-lead1 cannot be downloaded. Known: " in capsys.readouterr().err
    assert not server.asked


def test_a_failed_download_is_no_mistake_of_the_user(server, tmp_path, capsys):
    del server.files["mitdb/1.0.0/SHA256SUMS.txt"]
    arguments = ["download", "mitdb", "--base-url", server.url, "--data-dir", str(tmp_path)]
    assert main(arguments) == 1
    assert "not found (404)" in capsys.readouterr().err


def test_a_file_that_changes_later_is_told(fetch, tmp_path):
    fetch()
    assert physionet.altered_files(tmp_path / "mitdb") == []
    (tmp_path / "mitdb" / "101.atr").write_bytes(b"damaged")
    assert physionet.altered_files(tmp_path / "mitdb") == ["101.atr"]
    with (tmp_path / "mitdb" / physionet.SUMS).open("a") as file:
        file.write("0 ../../etc/passwd\n0 /etc/passwd\nnothing\n")
    assert physionet.altered_files(tmp_path / "mitdb") == ["101.atr"]


def test_ctrl_c_stops_the_command_and_leaves_it_resumable(server, tmp_path, capsys):
    server.faults[DAT] = ["hang"]
    command = [sys.executable, "-m", "fl.datasets", "download", "mitdb", "--base-url", server.url]
    started = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Whoever runs the tests in the background may have had interrupts ignored.
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
    assert errors.decode().strip() == "interrupted: the same command goes on from here"
    Downloader(base_url=server.url).fetch("mitdb", tmp_path / "mitdb")
    assert is_whole(tmp_path)


def test_every_challenge_file_name_is_wanted():
    wanted = physionet.REMOTES["ningbo"].wanted
    assert all(
        physionet.re.fullmatch(wanted, path)
        for path in ("g1/JS00001.hea", "g12/S0001.mat", "A0001.mat", "g1/RECORDS")
    )
