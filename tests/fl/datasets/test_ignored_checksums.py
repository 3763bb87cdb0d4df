"""`--ignore-checksums` reads what differs from its checksum, says so and has a cache of its own."""

import json
from dataclasses import replace

import pytest
from support.small_records import challenge, holter, ptbxl, write

from fl.config.config_file import load_config
from fl.data.example_cache import prepare
from fl.datasets import DATASETS
from fl.datasets.__main__ import main
from fl.datasets.base import ignores_checksums, ignoring_checksums
from fl.datasets.cpsc2018 import CPSC2018
from fl.datasets.own_folder import parse_source
from fl.datasets.readers.wfdb_signals import CHECKSUM_NOTE, IGNORED_NOTE
from fl.datasets.source_selection import select_sources
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.tasks import RHYTHM
from fl.util.errors import UnusableRecord


def damage(stem):
    """Change one bit of the signal, so that it no longer fits its checksum."""
    path = next(p for p in (stem.with_suffix(".mat"), stem.with_suffix(".dat")) if p.exists())
    content = bytearray(path.read_bytes())
    content[3000] ^= 1
    path.write_bytes(bytes(content))


def own(root):
    stem = write(root / "own", "e1")
    (root / "own" / "labels.csv").write_text("record,patient,labels\ne1,p1,RBBB\n")
    return stem


WRITERS = {
    "cpsc2018": lambda root: challenge(root / "cpsc2018", "A0001"),
    "mitdb": lambda root: holter(root / "mitdb", "100"),
    "ptbxl": ptbxl,
    "ptbdb": lambda root: write(root / "ptbdb" / "patient001", "s0001_re", fs=1000),
    "own": own,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_kind_of_source_can_ignore_checksums(tmp_path, kind):
    damage(WRITERS[kind](tmp_path))
    source = parse_source(f"own={tmp_path / 'own'}") if kind == "own" else DATASETS[kind]
    name = source.record_names(tmp_path)[0]
    with pytest.raises(UnusableRecord) as refused:
        source.read(tmp_path, name)
    assert refused.value.reason == "checksum"
    record = ignoring_checksums(source).read(tmp_path, name)
    assert record.notes == (IGNORED_NOTE,)


def test_a_synthetic_source_has_no_checksums_to_ignore():
    assert ignoring_checksums(SYNTHETIC) is SYNTHETIC


def test_the_cache_is_another_one_only_where_checksums_are_ignored(tmp_path):
    for i in range(2):
        challenge(tmp_path / "cpsc2018", f"A000{i}", seed=i)
    damage(tmp_path / "cpsc2018" / "A0001")
    cache = tmp_path / "cache"
    usual = prepare(CPSC2018, tmp_path, RHYTHM, cache)
    ignoring = prepare(ignoring_checksums(CPSC2018), tmp_path, RHYTHM, cache)
    assert usual != ignoring
    assert json.loads((usual / "cache.json").read_text())["excluded"] == {"checksum": ["A0001"]}
    assert json.loads((ignoring / "cache.json").read_text())["excluded"] == {}
    assert repr(CPSC2018) == repr(replace(CPSC2018, ignore_checksums=True))


def test_a_run_ignores_checksums_only_if_asked(tmp_path):
    challenge(tmp_path / "cpsc2018", "A0001")
    settings = {"data_dir": str(tmp_path), "sources": "cpsc2018", "data": "real"}
    for asked in (False, True):
        config = load_config(settings | ({"ignore_checksums": "true"} if asked else {}))
        chosen = select_sources(config).sources["cpsc2018"]
        assert ignores_checksums(chosen) == asked


def test_check_shows_what_was_ignored_and_what_was_not_checked(tmp_path, capsys):
    damage(challenge(tmp_path / "cpsc2018", "A0001"))
    stem = challenge(tmp_path / "cpsc2018", "A0002", seed=2)
    header = stem.with_suffix(".hea")
    first, *lines = header.read_text().splitlines()
    lines = [
        line
        if line.startswith("#")
        else " ".join([*line.split()[:5], "0", "0", "0", line.split()[-1]])
        for line in lines
    ]
    header.write_text("\n".join([first, *lines]) + "\n")
    command = ["check", "cpsc2018", "--data-dir", str(tmp_path), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)["sources"][0]
    assert found["unusable"] == {"checksum": ["A0001"]}
    assert found["notes"] == {CHECKSUM_NOTE: ["A0002"]}
    assert main([*command, "--ignore-checksums"]) == 0
    found = json.loads(capsys.readouterr().out)["sources"][0]
    assert found["notes"] == {IGNORED_NOTE: ["A0001"], CHECKSUM_NOTE: ["A0002"]}
    assert main([*command[:-1], "--ignore-checksums"]) == 0
    assert "ignored as asked" in " ".join(capsys.readouterr().out.split())
