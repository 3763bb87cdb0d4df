"""A run that is interrupted prints the line that continues it, and that line works."""

import os
import shlex
import signal

import run_sim
from fl.reports.terminal.progress import PlainView
from fl.runs.run_progress import read_progress
from heartfed import cli

RUN = [
    *("--data", "synthetic", "--synthetic-records", "60", "--clients", "2", "--rounds", "3"),
    *("--model", "resnet1d", "--engine", "local", "--partition", "patients", "--workers", "1"),
    *("--local-epochs", "1", "--no-pages"),
]


def interrupted(monkeypatch, out):
    """Let a run get SIGTERM after its second round; its exit code and its directory."""
    shown = PlainView.round

    def stop_after_two(view, row):
        shown(view, row)
        if row.round == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(PlainView, "round", stop_after_two)
        code = run_sim.main([*RUN, "--out", str(out), "--name", "a"])
    assert signal.getsignal(signal.SIGTERM) is handler
    return code, out / "a"


def test_the_line_that_is_printed_continues_the_run(monkeypatch, tmp_path, capsys):
    code, folder = interrupted(monkeypatch, tmp_path / "my runs")
    assert code == 1
    printed = capsys.readouterr()
    first, line = printed.err.splitlines()[-2:]
    assert first == "run_sim.py: interrupted. Continue with:"
    words = shlex.split(line)
    assert words == ["heartfed", "simulate", "--resume", str(folder), "--no-pages"]
    assert read_progress(folder).state == "interrupted"
    # The first round tells how long the two others take; after the last one nothing is left.
    rounds = [text for text in printed.out.splitlines() if text.startswith("round ")]
    assert [" left" in text for text in rounds] == [True, True]
    assert cli.main(words[1:]) == 0
    assert read_progress(folder).state == "completed"
    (last,) = [t for t in capsys.readouterr().out.splitlines() if t.startswith("round   3/3")]
    assert " left" not in last
