"""The walk-through of docs/deploy.md on loopback: TLS, keys, a killed SuperLink, refusals.

One federation serves all tests of this file. Its recordings are real where $ECG_DATA has them.
"""

import csv
import os
import re
import shlex
import shutil
import signal
import ssl
from pathlib import Path

import httpx
import pytest
from support.documents import blocks, section
from support.federations import ROOT, Federation, await_that, facts, link_source
from support.network_tap import taken, tap
from support.small_records import challenge

import run_sim
from fl.messages.flower_arrays import unpacked
from fl.util.child_process import free_port
from partitions.partition import HEADER
from server.deploy.federation_store import FederationSettings, make_federation

HOSPITALS = ("hospital-a", "hospital-b", "hospital-c")
PLACES = {"hospital-a": "data-a", "hospital-b": "data-b", "hospital-c": "data-c"}
CODES = ("426783006", "164889003", "59118001", "270492004")
# Four minutes, and the first test waits for the whole page: `make test-slow` runs these.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# Recordings of a hospital; each next one has one more. If two report the same numbers, Flower takes
# the record that holds them from one alone, and the tap would miss it at the other.
EACH = 20
TRAINED = "weights/fedavg-last.safetensors"


def commands():
    """Every command of the walk-through, in order; test_one_machine.py has those on one machine."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    page = page.replace(section(page, "On one machine, to try it"), "")
    return [line for block in blocks(page) for line in block.commands]


def place_recordings(base):
    """Recordings of three hospitals and of the coordinator, no patient at two of them."""
    folders = [*PLACES.values(), "data-central"]
    real = os.environ.get("ECG_DATA")
    if real and (Path(real) / "cpsc2018").is_dir():
        names = sorted(path.stem for path in (Path(real) / "cpsc2018").glob("*.hea"))
        for i, folder in enumerate(folders):
            some = names[i :: len(folders)][: EACH + i]
            link_source(Path(real), base / folder, "cpsc2018", some)
    else:
        for i, folder in enumerate(folders):
            for n in range(EACH + i):
                k, made = n * len(folders) + i, base / folder / "cpsc2018"
                challenge(made, f"A{k:04d}", CODES[n % 4], seed=k, seconds=10)
    whole = base / "data-whole" / "cpsc2018"
    whole.mkdir(parents=True)
    for folder in folders:
        for file in (base / folder / "cpsc2018").iterdir():
            (whole / file.name).symlink_to(file.resolve())


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class Walk(Federation):
    """The federation of the walk-through: its commands, as they stand there."""

    def __init__(self, base):
        self.base, self.folder, self.sites = base, base / "federation", HOSPITALS
        self.processes, self.output, self.done = {}, {}, []
        self.env = os.environ | {"PYTHONPATH": str(ROOT), "HEARTFED_CACHE": str(base / "cache")}
        self.flags = dict.fromkeys(HOSPITALS, ())

    def home(self, site):
        return self.base / f"heartfed-{site}"

    def walk(self, line):
        """One command of the page."""
        _, _, module, *rest = shlex.split(line)
        self.done.append(line)
        if (module, rest[0]) == ("server.deploy", "init"):
            rest = [word.replace("coordinator.example.org", "127.0.0.1") for word in rest]
            rest += ["--listen", "127.0.0.1", "--port", "0", "--superlink-port", "0"]
            self.do(module, *self.with_ports(rest))
        elif rest[0] == "serve":
            self.serve()
        elif rest[0] == "join" and "--print" not in rest:
            site = rest[rest.index("--site") + 1]
            self.start(site, module, *rest, awaited="serving")
        elif "--name" in rest:
            self.interrupted(module, rest)
        else:
            if rest[0] == "status":
                self.online(*HOSPITALS)
            self.output[line] = self.do(module, *rest, timeout=240)

    def with_ports(self, rest):
        ports = [str(free_port()), str(free_port())]
        self.port = int(ports[0])
        return [ports.pop(0) if word == "0" else word for word in rest]

    def interrupted(self, module, rest):
        """A run during which the SuperLink is killed, and started again with its database."""
        rounds = self.base / "runs" / "first" / "rounds.csv"
        run = self.start("run", module, *rest, awaited="rounds; training patients")
        await_that(lambda: rounds.exists() and len(rounds.read_text().splitlines()) > 1, 240)
        self.kill("serve")
        assert run.wait(120) == 1
        assert "does not answer" in (self.base / "run.log").read_text()
        del self.processes["run"]
        self.serve()
        self.online(*HOSPITALS)


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The whole page up to the hospital's leaving, with a tap on what hospital-a sends."""
    base = tmp_path_factory.mktemp("walk")
    place_recordings(base)
    with Walk(base) as federation:
        lines = iter(commands())
        for line in lines:
            if " join " in line and "hospital-a" in line and "--print" not in line:
                tap(federation, "hospital-a")
            federation.walk(line)
            if "--resume" in line:
                break
        federation.left = list(lines)
        yield federation


def partition_of(walked):
    """What the sites and the coordinator hold, as one partition.csv for a simulation."""
    paths = [next(walked.home(site).glob("runs/first-*/partition.csv")) for site in HOSPITALS]
    paths.append(walked.base / "runs" / "first" / "partition.csv")
    path = walked.base / "partition.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for part in paths for row in table(part))
    return path


def test_a_run_whose_superlink_was_killed_ends_as_the_simulation_bit_for_bit(walked):
    flags = [
        *("--data-dir", str(walked.base / "data-whole"), "--sources", "cpsc2018=3"),
        *("--clients", "3", "--partition", f"file:{partition_of(walked)}", "--rounds", "3"),
        *("--model", "resnet1d", "--local-epochs", "1", "--batch-size", "4"),
        *("--engine", "local", "--quiet", "--out", str(walked.base / "simulated")),
    ]
    assert run_sim.main([*flags, "--name", "run"]) == 0
    simulated = walked.base / "simulated" / "run"
    assert (walked.base / "runs/first" / TRAINED).read_bytes() == (simulated / TRAINED).read_bytes()


def test_the_recordings_were_real(walked, real_data):
    (own,) = walked.home("hospital-a").glob("runs/first-*/partition.csv")
    records = {row["record"] for row in table(own)}
    assert records <= {path.stem for path in (real_data / "cpsc2018").glob("*.hea")}


def test_the_run_directory_is_the_simulations_with_the_coordinators_predictions_alone(walked):
    folder = walked.base / "runs" / "first"
    record = facts(folder / "run.json")
    assert (record["status"], record["engine"]) == ("completed", "deployment")
    assert len(record["resumed"]) == 1
    rounds = table(folder / "rounds.csv")
    assert [row["participants"] for row in rounds] == ["3", "3", "3"]
    rows = table(folder / "predictions.csv")
    assert {row["site"] for row in rows} == {"central"}
    summary = facts(folder / "summary.json")["strategies"]["fedavg"]
    assert set(summary["sites"]) == set(HOSPITALS)
    assert summary["central"]["n_records"] == len(rows)


def test_a_hospital_keeps_its_predictions_and_has_a_report_of_its_own(walked):
    for site in HOSPITALS:
        (folder,) = walked.home(site).glob("runs/first-*")
        rows = table(folder / "predictions.csv")
        own = table(folder / "partition.csv")
        tested = {row["record"] for row in own if row["split"] == "test"}
        assert {row["record"] for row in rows} == tested
        report = facts(folder / "summary.json")["strategies"]["fedavg"]["sites"][site]
        assert report["n_records"] == len(rows)


def test_what_crosses_the_wire_is_of_the_listed_kinds(walked):
    kinds, messages, raw = taken(walked)
    assert set(kinds) == {"query", "train", "evaluate"}
    assert len(messages) > len(kinds) / 2
    records, words = {"arrays", "config", "metrics"}, {"site", "sources", "report"}
    validation = {f"validation-{name}" for name in records}
    for message in messages:
        content = unpacked(message).content
        assert set(content.pop("signature")) == {"signature"}
        trained = message.metadata.message_type == "train"
        assert set(content) <= (records | validation if trained else records)
        for name in {"config", "validation-config"} & set(content):
            assert set(content[name]) <= words
            assert content[name]["site"] == "hospital-a"
    assert any(validation <= set(message.content) for message in messages)
    own = walked.home("hospital-a").glob("runs/first-*/partition.csv")
    rows = table(next(own))
    names = {row["record"] for row in rows} | {"data-a", "predictions", "partition.csv"}
    assert len(names) > EACH / 2
    assert [name for name in names if any(name.encode() in body for body in raw)] == []


def test_private_keys_are_readable_by_their_owner_alone(walked):
    private = [
        *walked.folder.glob("*.key"),
        *walked.base.glob("heartfed-*/site.key"),
        *walked.base.glob("heartfed-*/supernode.secret"),
    ]
    assert len(private) == 2 + 2 * len(HOSPITALS)
    assert {oct(path.stat().st_mode & 0o777) for path in private} == {"0o600"}


def test_what_both_ends_write_is_their_owners_alone(walked):
    tops = [walked.folder, walked.base / "runs", *walked.base.glob("heartfed-*")]
    written = [path for top in tops for path in [top, *top.rglob("*")] if not path.is_symlink()]
    assert len(written) > 100
    assert [path for path in written if path.stat().st_mode & 0o077] == []


def join(walked, site, *flags, invitation=None, data="data-a"):
    """A site that must not get in: it ends by itself."""
    given = invitation or walked.folder / "invitations" / f"{site}.toml"
    return walked.run(
        *("clients.deploy", "join", given, "--site", site, "--data-dir", data, *flags), timeout=240
    )


def test_a_node_with_an_unknown_key_is_refused(walked):
    walked.invite("hospital-d")
    ended = join(walked, "hospital-d")
    assert ended.returncode == 2
    assert "does not admit this key" in ended.stderr
    assert "hospital-d " not in walked.status()


def test_a_wrong_certificate_authority_is_refused(walked, tmp_path):
    other = make_federation(
        tmp_path / "other",
        FederationSettings(
            name="other",
            task="rhythm",
            hosts=("127.0.0.1",),
            listen="127.0.0.1",
            port=walked.port,
            superlink_port=1,
        ),
    )
    own = (walked.folder / "invitations" / "hospital-b.toml").read_text()
    false = own.replace(
        (walked.folder / "ca.pem").read_text().strip(), other.ca.read_text().strip()
    )
    assert false != own
    (tmp_path / "false.toml").write_text(false)
    home = tmp_path / "home"
    shutil.copytree(walked.home("hospital-b"), home)
    flags = ("--home", home)
    ended = join(walked, "hospital-b", *flags, invitation=tmp_path / "false.toml", data="data-b")
    assert ended.returncode == 2
    assert "does not show a certificate of federation" in ended.stderr


def test_plain_http_is_refused(walked):
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{walked.port}/health", timeout=5)


@pytest.mark.parametrize("path", ["/v1/control/list-nodes", "/v1/runtime/acquire-task", "/docs"])
def test_the_proxy_passes_only_what_a_supernode_needs(walked, path):
    answer = httpx.post(
        f"https://127.0.0.1:{walked.port}{path}",
        verify=ssl.create_default_context(cafile=str(walked.folder / "ca.pem")),
        content=b"",
        headers={"content-type": "application/protobuf"},
    )
    assert answer.status_code == 404


def test_a_site_with_unusable_data_does_not_join_and_says_why(walked, tmp_path):
    (tmp_path / "cpsc2018").mkdir()
    header = next((walked.base / "data-b" / "cpsc2018").glob("*.hea"))
    (tmp_path / "cpsc2018" / header.name).write_bytes(header.read_bytes())  # without its signal
    ended = join(walked, "hospital-d", data=tmp_path)
    assert ended.returncode == 2
    assert "cpsc2018: none of 1 records can be used for rhythm (missing-file: 1)" in ended.stderr


def test_a_node_that_ends_in_mid_round_is_named_and_used_again_when_it_is_back(walked):
    folder = walked.base / "runs" / "second"
    flags = ("--rounds", "60", "--model", "resnet1d", "--local-epochs", "1", "--batch-size", "4")
    walked.start(
        "run",
        *("server.deploy", "run", walked.folder, *flags, "--name", "second", "--timeout", "90"),
        awaited="round   1/60",
    )
    process = walked.processes.pop("hospital-c")
    os.kill(process.pid, signal.SIGKILL)  # the SuperNode that it started ends with it
    process.wait()
    log = walked.base / "run.log"
    await_that(lambda: "hospital-c is left out" in log.read_text(), 240)
    assert re.search(r"hospital-c is left out: (train|val): .*[Nn]ode", log.read_text())
    join = "join federation/invitations/hospital-c.toml --site hospital-c --data-dir data-c"
    walked.start("hospital-c", "clients.deploy", *join.split(), awaited="serving")

    def participants():
        rows = table(folder / "rounds.csv")
        return [int(row["participants"]) for row in rows]

    await_that(lambda: 2 in participants() and participants()[-1] == 3, 240)
    process = walked.processes.pop("hospital-b")
    os.killpg(process.pid, signal.SIGTERM)  # to the whole group, as a terminal or a container does
    assert process.wait(30) == 0
    assert re.search(r"hospital-b +offline", walked.status())  # it took its leave
    await_that(lambda: "hospital-b is left out" in log.read_text(), 240)
    walked.processes["run"].send_signal(signal.SIGINT)
    assert walked.processes.pop("run").wait(120) == 1
    assert f"--resume {folder.relative_to(walked.base)}" in log.read_text()


def test_a_revoked_node_is_shut_out_and_the_page_is_at_its_end(walked):
    for line in walked.left:
        walked.walk(line)
    process = walked.processes.pop("hospital-c")
    assert process.wait(240) == 2
    assert "does not admit this key" in (walked.base / "hospital-c.log").read_text()
    assert re.search(r"hospital-c +revoked", walked.status())
    assert join(walked, "hospital-c", data="data-c").returncode == 2
    key = walked.home("hospital-c") / "hospital-c.pub"
    again = walked.run("server.deploy", "approve", walked.folder, key)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "hospital-c: this key was revoked" in again.stderr
    assert walked.done == commands()
