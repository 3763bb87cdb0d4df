"""The tables of results: what a row counts."""

from fl.ecg.tasks import BEAT
from fl.reports.number_format import number
from fl.reports.run_files import read_run
from fl.reports.terminal.result_tables import (
    class_table,
    result_notes,
    result_table,
    size_notes,
)
from fl.reports.units import WINDOWS


def test_rows_that_are_windows_are_counted_with_their_patients(plain):
    run = read_run(plain("rhythm"))
    result = run.strategies["fedavg"]
    lines = list(size_notes(result, lambda name: WINDOWS if name == "site-1" else "records"))
    found = result.sites["site-1"]
    assert lines == [f"  site-1: {found.n_records} 10 s windows of {found.n_patients} patients"]
    assert lines[0] in result_notes(result, run.classes, lambda _: WINDOWS)


def test_of_very_many_sites_those_with_the_most_test_patients_are_named(plain):
    run = read_run(plain("rhythm"))
    one = run.strategies["fedavg"].sites["site-1"]
    sites = {f"s{n:02d}": one.model_copy(update={"n_patients": n}) for n in range(60)}
    result = run.strategies["fedavg"].model_copy(update={"sites": sites})
    table = result_table("fedavg", result, run.classes, True)
    names = [name for name in table.columns[0].cells if name in sites]
    assert names == [f"s{n}" for n in range(40, 60)]
    assert "40 of 60 sites" in table.caption
    assert " s39:" not in result_notes(result, run.classes)


def test_average_precision_stands_beside_f1(written):
    central = read_run(written("beat")).strategies["fedavg"].central
    table = class_table("Central test, per class", central)
    cells = {column.header: list(column.cells) for column in table.columns}
    assert list(cells)[-3:] == ["F1", "AUPRC", "AUROC"]
    assert cells["AUPRC"] == [number(central.classes[c].auprc) for c in BEAT.classes]
    assert cells["class"] == list(BEAT.classes)
