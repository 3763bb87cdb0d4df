"""The benchmark of imports measures both ways, and writes a table."""

import pytest

from benchmarks.speed import imports


def test_both_ways_are_measured_and_compared(tmp_path, monkeypatch, capsys):
    results = tmp_path / "performance.md"
    results.write_text("<!-- imports -->\n<!-- /imports -->\n")
    monkeypatch.setattr(imports, "MODULES", ("scipy.stats",))
    imports.main(["--turns", "1", "--results", str(results)])
    row = results.read_text().splitlines()[3].split("|")
    assert row[1].strip() == "`scipy.stats`"
    ours, theirs, ratio = map(float, row[2:5])
    assert ratio == pytest.approx(theirs / ours, rel=0.05)
    assert capsys.readouterr().out.splitlines()[2] in results.read_text()
