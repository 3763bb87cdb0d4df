"""What was changed in an audit log is found, and the first broken line is named."""

import json

import numpy as np
import pytest

from clients.deploy import __main__ as site
from fl.privacy.audit_log.chain import NOTHING, line_digest, make_line
from fl.privacy.audit_log.log_file import AuditLog, log_files
from fl.privacy.audit_log.verification import verify


@pytest.fixture
def log(tmp_path):
    """A log of ten lines in the files 1 to 4, 5 to 8 and 9 to 10, in a site's folder."""
    made = AuditLog(tmp_path / "home" / "audit", most_lines=4)
    for n in range(10):
        made.append({"event": "asked", "round": n, "site": f"site-{n % 2}", "run": "r-1"})
    return made


def changed(log, file, change):
    """A file with its lines changed by a function of the list of them."""
    path = log_files(log.folder)[file]
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


def edited(line, **facts):
    return json.dumps(json.loads(line) | facts).encode() + b"\n"


CHANGES = {
    "a fact": (0, lambda x: x.__setitem__(1, edited(x[1], round=7)), "line 2 of the log was"),
    "the last line of a file": (
        0,
        lambda x: x.__setitem__(3, edited(x[3], site="b")),
        "line 4 of the log was changed",
    ),
    "a line is taken out": (1, lambda x: x.pop(1), "line 6 is missing"),
    "two lines are taken out": (1, lambda x: (x.pop(1), x.pop(1)), "lines 6 to 7 are missing"),
    "the last line of a file is taken out": (1, lambda x: x.pop(), "line 8 is missing"),
    "a line is put in": (1, lambda x: x.insert(1, x[1]), "where line 7 should stand"),
    "two lines change places": (1, lambda x: x.insert(0, x.pop(1)), "line 6 of the log, and"),
    "a line is no line": (0, lambda x: x.__setitem__(2, b"nothing\n"), "line 3: is no line"),
    "a line is empty": (2, lambda x: x.insert(1, b"\n"), "line 2: is no line"),
    "a torn line that is not there": (
        2,
        lambda x: x.__setitem__(1, edited(x[1], event="torn", parts=0)),
        "states a torn line",
    ),
    "the first line": (0, lambda x: x.pop(0), "begins with line 2"),
    "a first line that goes on from another log": (
        0,
        lambda x: x.__setitem__(0, edited(x[0], previous="1" * 64)),
        "line 1 of the log was changed",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_first_broken_line_is_named(log, name):
    file, change, named = CHANGES[name]
    changed(log, file, change)
    assert named in verify(log.folder).broken


@pytest.mark.parametrize(
    ("file", "named"), [(0, "no line states that they were"), (1, "lines 5 to 8 are missing")]
)
def test_a_file_that_is_missing_is_named(log, file, named):
    log_files(log.folder)[file].unlink()
    assert named in verify(log.folder).broken


def test_one_changed_byte_anywhere_before_the_last_line_is_found(log):
    rng = np.random.default_rng(5)
    for file in log_files(log.folder)[:2]:
        raw = file.read_bytes()
        for at in rng.choice(len(raw), 60, replace=False):
            file.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
            assert verify(log.folder).broken, raw[at - 20 : at + 1]
        file.write_bytes(raw)
    assert verify(log.folder).broken == ""


def written_again(log, **facts):
    """Somebody with the right to write changes line 2 and computes all that follows again."""
    head = NOTHING
    for path in log_files(log.folder):
        again = []
        for old in map(json.loads, path.read_bytes().splitlines()):
            new = old | (facts if old["line"] == 2 else {})
            line = make_line(head.line + 1, new["time"], new, head.sha256)
            head = type(head)(head.line + 1, line_digest(line))
            again.append(line + b"\n")
        path.write_bytes(b"".join(again))


def test_what_was_written_again_as_a_whole_shows_only_against_a_digest_kept_elsewhere(log):
    kept = log.head()
    log.append({"event": "asked"})
    found = verify(log.folder, kept.sha256)
    assert (found.broken, found.kept_line) == ("", kept.line)
    written_again(log, round=99)
    assert verify(log.folder).broken == ""
    assert "no line has the SHA-256" in verify(log.folder, kept.sha256).broken


def test_an_end_that_was_cut_off_shows_only_against_a_digest_kept_elsewhere(log):
    kept = log.head()
    changed(log, 2, lambda lines: lines.pop())
    assert verify(log.folder).broken == ""
    assert verify(log.folder, kept.sha256).broken


def run(log, *arguments):
    action, *flags = arguments
    home = str(log.folder.parent)
    return site.main(["audit", action, "--site", "a", "--home", home, *flags])


def test_the_command_says_that_a_log_is_whole_and_what_that_does_not_prove(log, capsys):
    assert run(log, "verify") == 0
    printed = capsys.readouterr().out
    assert "10 lines in 3 files" in printed
    assert log.head().sha256 in printed
    assert "Keep the head elsewhere" in printed
    assert run(log, "verify", "--head", log.head().sha256.upper()) == 0
    assert "up to line 10" in capsys.readouterr().out


def test_the_command_ends_with_1_at_a_broken_log_and_with_2_at_a_mistake(log, tmp_path, capsys):
    changed(log, 0, lambda lines: lines.pop(1))
    assert run(log, "verify") == 1
    assert "line 2 is missing" in capsys.readouterr().err
    for mistake in (
        ["verify", "--site", "a", "--home", str(tmp_path / "none")],
        ["verify", "--site", "a", "--home", str(log.folder.parent), "--head", "abc"],
        ["show", "--site", "a", "--home", str(log.folder.parent), "--since", "yesterday"],
        ["show", "--site", "a", "--home", str(log.folder.parent), "--last", "-1"],
    ):
        assert site.main(["audit", *mistake]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_lines_are_shown_by_event_site_run_and_time(log, capsys):
    log.append({"event": "answered", "site": "site-1", "text": "a\x1b[2Jb"})
    for flags, number in {
        (): 11,
        ("--event", "asked"): 10,
        ("--about", "site-1"): 6,
        ("--run", "r-1", "--last", "3"): 3,
        ("--since", "2999-01-01"): 0,
    }.items():
        assert run(log, "show", *flags) == 0
        printed = capsys.readouterr().out
        assert printed.count("\n") == number
        assert "\x1b" not in printed
    assert run(log, "show", "--json", "--last", "1") == 0
    assert json.loads(capsys.readouterr().out)["event"] == "answered"
