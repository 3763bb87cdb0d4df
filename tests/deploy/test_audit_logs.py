"""The audit logs of a real deployment on loopback: both ends note the same, and stay whole."""

import json

import pytest
from support.federations import Federation, facts, synthetic_folders

from fl.privacy.audit_log.log_file import log_files

# A coordinator, two sites and a run: about a minute.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SITES = ("site-1", "site-2")
FLAGS = ("--rounds", "2", "--model", "resnet1d", "--local-epochs", "1", "--batch-size", "4")


def lines_of(folder):
    raw = b"".join(file.read_bytes() for file in log_files(folder / "audit"))
    return [json.loads(line) for line in raw.splitlines()]


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Two sites at work, on synthetic recordings, and a run that is over."""
    base = tmp_path_factory.mktemp("audited")
    with Federation(base, sites=SITES) as made:
        made.flags = synthetic_folders(base, SITES)
        made.serve()
        made.admit_all()
        run = ("server.deploy", "run", made.folder, *FLAGS, "--name", "run", "--quiet")
        made.printed = made.do(*run, timeout=400)
        made.kill(SITES[0])
        yield made


def test_the_head_is_printed_and_in_the_report(federation):
    run = federation.base / "runs" / "run"
    head = facts(run / "run.json")["audit"]["sha256"]
    assert head in federation.printed
    assert head in (run / "report" / "index.html").read_text()
    verify = ("server.deploy", "audit", "verify", federation.folder, "--head", head)
    assert "up to line" in federation.do(*verify)


def test_both_ends_note_the_same_messages_with_the_same_digests(federation):
    coordinator = lines_of(federation.folder)
    for site in SITES:
        own = lines_of(federation.home(site))
        for event, there in (("asked", "asked"), ("answered", "replied")):
            here = {line["message"]: line for line in own if line["event"] == event}
            sent = [x for x in coordinator if x["event"] == there and x["site"] == site]
            assert len(here) == len(sent) == 5  # first words, two rounds, validation, test
            for line in sent:
                same = here[line["message"]]
                for name in ("kind", "arrays", "numbers", "settings-sha256"):
                    assert line.get(name) == same.get(name)
    assert {x["signed"] for x in coordinator if x["event"] == "replied"} == {True}
    events = [x["event"] for x in coordinator]
    for event in ("serving", "approved", "run-ordered", "run-started", "run-ended"):
        assert event in events


def test_a_site_that_was_killed_has_a_whole_log_with_its_beginning(federation):
    site = SITES[0]
    printed = federation.do(
        *("clients.deploy", "audit", "verify", "--site", site, "--home", federation.home(site))
    )
    assert "whole" in printed
    first = lines_of(federation.home(site))[0]
    assert (first["event"], first["site"]) == ("serving", site)
