"""Synthetic recordings that are written as files are read as a hospital's own folder."""

import numpy as np
import pytest

from fl.datasets.__main__ import main
from fl.datasets.own_folder import parse_source
from fl.datasets.synthetic import SYNTHETIC
from fl.ecg.labels import RHYTHM_CLASSES


def write(folder, *flags):
    return main(["synthetic", str(folder), "--records", "6", *flags])


def records_of(folder):
    source = parse_source(f"synthetic-ecg={folder}")
    return [source.read(folder, name) for name in source.record_names(folder)]


def test_what_is_written_is_read_back_with_all_its_labels(tmp_path, capsys):
    assert write(tmp_path / "data", "--seed", "0") == 0
    assert "6 synthetic recordings of 6 patients who do not exist" in capsys.readouterr().out
    made = [SYNTHETIC.patient(i) for i in range(6)]
    read = records_of(tmp_path / "data")
    for record, patient in zip(read, made, strict=True):
        shown = {c for c, y in zip(RHYTHM_CLASSES, record.labels, strict=True) if y == 1}
        assert shown == set(patient.labels)
        assert set(record.labels.tolist()) <= {0, 1}
        assert record.signal.shape[0] == 12
        assert 10 <= record.signal.shape[1] / record.fs <= 12
        assert "synthetic" in record.name
        assert "synthetic" in record.patient
        assert 0.1 < np.ptp(record.signal[1]) < 20  # mV


def test_the_same_seed_writes_the_same_and_another_shares_no_patient(tmp_path):
    for folder, seed in {"a": "1", "again": "1", "b": "2"}.items():
        write(tmp_path / folder, "--seed", seed)
    once, again = sorted((tmp_path / "a").iterdir()), sorted((tmp_path / "again").iterdir())
    assert [p.name for p in once] == [p.name for p in again]
    assert all(p.read_bytes() == q.read_bytes() for p, q in zip(once, again, strict=True))
    patients = [{r.patient for r in records_of(tmp_path / folder)} for folder in ("a", "b")]
    assert not set.intersection(*patients)


@pytest.mark.parametrize("flags", [("--records", "0"), ("--seed", "-1")])
def test_a_number_of_no_use_is_refused(tmp_path, flags, capsys):
    assert main(["synthetic", str(tmp_path / "data"), *flags]) == 2
    assert flags[0] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_folder_that_is_there_is_never_written_into(tmp_path, capsys):
    assert write(tmp_path) == 2
    assert "is there already" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
