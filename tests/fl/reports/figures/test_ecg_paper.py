from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER
from fl.ecg.records import LEADS, Record
from fl.reports.figures import ecg_paper
from fl.util.errors import ConfigError

ROOT = Path("nowhere")


@pytest.fixture
def twelve() -> Record:
    return SYNTHETIC.read(ROOT, "S00001")


@pytest.fixture
def two() -> Record:
    return SYNTHETIC_HOLTER.read(ROOT, "S00001")


def words(figure) -> str:
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


def traces(figure) -> list[np.ndarray]:
    """Coordinates in mm of the lines with more points than a calibration pulse."""
    return [line.get_xydata() for line in figure.axes[0].lines if len(line.get_xydata()) > 10]


def test_a_millimetre_of_the_sheet_is_a_millimetre(twelve):
    figure = ecg_paper.draw(twelve)
    left, right = figure.axes[0].get_xlim()
    bottom, top = figure.axes[0].get_ylim()
    assert figure.get_size_inches() * 25.4 == pytest.approx([right - left, top - bottom])


def test_a_second_is_25_mm_and_a_millivolt_10_mm(two):
    trace = traces(ecg_paper.draw(two, 8))[0]
    assert trace[round(two.fs), 0] - trace[0, 0] == pytest.approx(25)
    shown = two.signal[0, : len(trace)]
    assert np.ptp(trace[:, 1]) == pytest.approx(10 * np.ptp(shown), rel=1e-3)


def test_twelve_leads_of_ten_seconds_take_the_standard_sheet(twelve):
    lines = traces(ecg_paper.draw(twelve))
    assert len(lines) == 13
    assert [round(len(t) / twelve.fs, 1) for t in lines] == [2.5] * 12 + [10.0]


def test_shorter_strips_take_one_row_per_lead(twelve, two):
    assert [round(len(t) / twelve.fs) for t in traces(ecg_paper.draw(twelve, 5))] == [5] * 12
    assert len(traces(ecg_paper.draw(two))) == 2


def test_the_title_names_source_and_record_but_no_patient(twelve):
    text = words(ecg_paper.draw(twelve))
    assert "synthetic" in text
    assert "S00001" in text
    assert twelve.patient not in text
    assert "SYNTHETIC" not in text


def test_a_synthetic_recording_is_marked(twelve):
    assert "SYNTHETIC" in words(ecg_paper.draw(twelve, synthetic=True))


def test_every_lead_is_named_and_every_row_has_a_calibration_pulse(twelve):
    figure = ecg_paper.draw(twelve)
    assert set(LEADS) <= set(words(figure).split("\n"))
    pulses = [line for line in figure.axes[0].lines if len(line.get_xydata()) == 6]
    assert [np.ptp(pulse.get_ydata()) for pulse in pulses] == [10.0] * 4


def test_missing_and_flat_leads_are_empty_rows(two):
    assert words(ecg_paper.draw(two, leads=("I", "II", "V1"))).count("not recorded") == 1
    two.signal[1] = 0
    assert words(ecg_paper.draw(two)).count("not recorded") == 1
    assert "not recorded" not in words(ecg_paper.draw(SYNTHETIC.read(ROOT, "S00001"), 5))


def test_leads_that_are_asked_for_and_missing_are_marked(two):
    assert words(ecg_paper.draw(two, leads=LEADS)).count("not recorded") == 10


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_sheet_is_written_whole(tmp_path, two, suffix):
    path = tmp_path / f"sheet{suffix}"
    ecg_paper.save(two, path, 4, synthetic=True)
    assert path.stat().st_size > 10_000
    assert list(tmp_path.iterdir()) == [path]


def test_a_png_is_to_scale_at_its_stated_resolution(tmp_path, two):
    ecg_paper.save(two, tmp_path / "sheet.png", 4)
    width, height = ecg_paper.size(ecg_paper.layout(two.leads, 4))
    rows, columns, _ = imread(tmp_path / "sheet.png").shape
    assert [columns, rows] == pytest.approx(np.array([width, height]) / 25.4 * ecg_paper.DPI, abs=1)


def test_other_suffixes_are_refused(tmp_path, two):
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        ecg_paper.save(two, tmp_path / "sheet.pdf")
