"""What is measured on heartbeats and waves, on signals in which it is known."""

from dataclasses import replace

import numpy as np
import pytest

from fl.config.config_file import load_config
from fl.data.example_cache import prepare
from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER
from fl.ecg.records import LEADS, NO_UNIT, Record
from fl.ecg.rhythm.beat_scores import beat_measures
from fl.ecg.rhythm.features import (
    GROUPS,
    KNOWN,
    LIMIT,
    UNITS,
    feature_names,
    feature_rows,
    lead_of_feature,
    measures,
)
from fl.ecg.rhythm.intervals import interval_measures, sample_entropy_coefficient
from fl.ecg.rhythm.median_beat import median_beat
from fl.ecg.rhythm.r_peaks import main_lead, r_peaks
from fl.ecg.tasks import RHYTHM, RHYTHM_FEATURES, RHYTHM_SIGNAL, TASKS
from fl.util.errors import ConfigError

FS = 500.0
AT = np.arange(0.6, 19.5, 0.8)  # s, R peaks at 75 a minute
NAMES = feature_names(GROUPS)


def ecg(at=AT, *, leads=LEADS, half_width=0.04, st=0.0, pr=0.16, p=0.12, seconds=20.0, terminal=0):
    """A made ECG (lead, sample) mV: P, a QRS of cosine shape of known width, ST level, T.

    `terminal` is the height of a second positive wave that ends QRS.
    """
    t = np.arange(round(seconds * FS)) / FS
    signal = 0.003 * np.random.default_rng(0).standard_normal((len(leads), len(t)))
    for peak in at:
        dt = t - peak
        qrs = np.where(np.abs(dt) < half_width, 0.5 + 0.5 * np.cos(np.pi * dt / half_width), 0)
        late = dt - half_width
        last = np.where(np.abs(late) < half_width, 0.5 + 0.5 * np.cos(np.pi * late / half_width), 0)
        begins = -half_width - pr
        wave = np.where(
            (dt > begins) & (dt < begins + 0.08), np.sin(np.pi * (dt - begins) / 0.08), 0
        )
        level = np.where((dt >= half_width) & (dt < half_width + 0.12), 1.0, 0)
        t_wave = np.exp(-(((dt - 0.3) / 0.04) ** 2))
        signal += qrs + terminal * last + p * wave + st * level + 0.2 * t_wave
    return signal.astype(np.float32)


def measured(signal, leads=LEADS, millivolts=True, groups=GROUPS):
    return measures(signal, leads, FS, groups, millivolts)


def record(signal, leads=LEADS, **changes):
    labels = np.zeros(9, dtype=np.int8)
    made = Record(
        source="made", name="a", patient="a", signal=signal, leads=leads, fs=FS, labels=labels
    )
    return replace(made, **changes)


def value(row, name):
    """A feature back in the unit of its measure."""
    centre, unit = next(units[name] for units in UNITS.values() if name in units)
    return row[NAMES.index(name)] * unit + centre


def test_the_rate_and_the_regularity_are_those_of_the_beats():
    found = measured(ecg())
    assert np.exp(found["heart rate"]) == pytest.approx(75, abs=0.3)
    assert found["rr changes"] == found["rr early"] == 0
    early = AT + np.where(np.arange(len(AT)) == 10, -0.3, 0)
    found = measured(ecg(early))
    assert np.exp(found["rr shortest"]) == pytest.approx(0.5 / 0.8, abs=0.02)
    assert np.exp(found["rr longest"]) == pytest.approx(1.1 / 0.8, abs=0.02)
    assert found["rr early"] == pytest.approx(1 / 23)


def test_fibrillation_is_irregular_and_bigeminy_is_not():
    rng = np.random.default_rng(3)
    fibrillation = np.cumsum(rng.uniform(0.4, 1.1, 40))
    bigeminy = np.cumsum(np.tile([0.5, 1.0], 20) + rng.normal(0, 0.01, 40))
    a, b = interval_measures(fibrillation), interval_measures(bigeminy)
    assert a["rr irregular"] > b["rr irregular"] + 0.4
    assert a["rr entropy"] > b["rr entropy"] + 0.7
    assert b["rr variation"] > a["rr variation"] - 0.1  # which does not tell them apart


def test_the_entropy_of_equal_intervals_is_the_least_there_is():
    assert sample_entropy_coefficient(np.full(12, 1.0)) == pytest.approx(np.log(0.06))
    assert sample_entropy_coefficient(np.array([0.8, 1.2])) == pytest.approx(np.log(0.06))


@pytest.mark.parametrize("beats", [0, 1, 2])
def test_of_fewer_than_three_beats_nothing_is_known(beats):
    peaks = np.rint(AT[:beats] * FS).astype(np.int64)
    signal = ecg(AT[:beats])
    assert interval_measures(peaks / FS) == {}
    assert beat_measures(signal[1:2], FS, peaks) == {}
    assert median_beat(signal, LEADS, FS, peaks) is None


def test_of_a_flat_recording_everything_is_marked_as_not_known():
    row = feature_rows(record(np.zeros((12, 3000), np.float32)), [(0, 6)], GROUPS)[0]
    assert not row.any()


@pytest.mark.parametrize("half_width", [0.04, 0.05, 0.07])
def test_a_wider_qrs_is_measured_wider_by_as_much(half_width):
    width = measured(ecg(half_width=half_width))["QRS width"]
    assert width == pytest.approx(2000 * half_width, abs=16)


@pytest.mark.parametrize("st", [-0.2, 0.1, 0.3])
def test_the_st_level_is_found_in_mv(st):
    plain, shifted = measured(ecg()), measured(ecg(st=st))
    assert shifted["ST V3"] - plain["ST V3"] == pytest.approx(st, abs=0.2 * abs(st) + 0.01)
    assert plain["ST V3"] == pytest.approx(0, abs=0.04)
    assert shifted["ST share V3"] == pytest.approx(shifted["ST V3"], rel=0.2)  # QRS is 1 mV


def test_a_lead_with_a_last_positive_wave_is_told_from_one_without():
    plain, late = measured(ecg(terminal=-0.8)), measured(ecg(terminal=0.8))
    assert late["terminal V1"] > plain["terminal V1"] + 0.2
    assert late["r' V1"] > plain["r' V1"]


@pytest.mark.parametrize("pr", [0.14, 0.18, 0.24])
def test_the_pr_interval_is_found_in_ms(pr):
    found = measured(ecg(np.arange(0.8, 19.5, 1.0), pr=pr))
    assert found["PR interval"] == pytest.approx(1000 * pr, abs=30)
    assert found["P height"] == pytest.approx(0.12, abs=0.04)
    assert found["P alike"] > 0.9


def test_without_a_p_wave_none_is_known():
    assert "PR interval" not in measured(ecg(p=0.0))


def test_the_amplitude_follows_the_gain_and_nothing_else_does():
    small, large = measured(ecg()), measured(2 * ecg())
    assert large["amplitude V2"] - small["amplitude V2"] == pytest.approx(np.log(2), abs=1e-3)
    assert large["ST V2"] == pytest.approx(2 * small["ST V2"], abs=1e-3)
    for name in ("heart rate", "QRS width", "ST share V2", "terminal V1", "highest S"):
        assert large[name] == pytest.approx(small[name], abs=1e-2)


def test_where_the_unit_is_not_known_nothing_is_measured_in_mv():
    row = feature_rows(record(ecg(), unit=NO_UNIT), [(0, 20)], GROUPS)[0]
    known = feature_rows(record(ecg()), [(0, 20)], GROUPS)[0]
    masked = {n for n, a, b in zip(NAMES, row, known, strict=True) if a == 0 != b}
    in_mv = {f"{what} {lead}" for what in ("ST", "amplitude") for lead in LEADS}
    assert {f"{name} known" for name in in_mv} <= masked <= in_mv | {f"{n} known" for n in in_mv}


def test_a_missing_lead_is_masked_and_the_others_are_not():
    row = feature_rows(record(ecg(leads=("I",)), leads=("I",)), [(0, 20)], GROUPS)[0]
    for name, feature in zip(NAMES, row, strict=True):
        if lead_of_feature(name) not in ("", "I"):
            assert feature == 0, name
    for name in ("rr known", "beats known", "QRS known", "ST I known", "amplitude I known"):
        assert row[NAMES.index(name)] == 1
    assert np.exp(value(row, "heart rate")) == pytest.approx(75, abs=0.5)


def test_every_feature_is_finite_and_bounded_whatever_the_signal_is():
    rng = np.random.default_rng(0)
    noise = 100 * rng.standard_normal((12, 3000)).astype(np.float32)
    signals = [noise, np.zeros_like(noise), np.where(noise > 250, noise, 0), ecg(seconds=6.0)]
    signals.append(np.concatenate([np.zeros((11, 3000), np.float32), noise[:1]]))
    for signal in signals:
        row = feature_rows(record(signal), [(0, 6)], GROUPS)
        assert np.isfinite(row).all()
        assert np.abs(row).max() <= LIMIT


def test_a_window_is_measured_as_if_nothing_else_had_been_recorded():
    both = np.concatenate([ecg(), ecg(np.arange(0.6, 19.5, 0.5))], axis=1)
    rows = feature_rows(record(both), [(0, 20), (20, 40)], GROUPS)
    alone = feature_rows(record(both[:, 10000:]), [(0, 20)], GROUPS)
    assert np.array_equal(rows[1], alone[0])
    assert np.exp(value(rows[1], "heart rate")) == pytest.approx(120, abs=1)


def test_a_tall_t_wave_in_the_main_lead_is_no_beat():
    signal = ecg()
    t = np.arange(signal.shape[1]) / FS
    for peak in AT:
        signal[LEADS.index("II")] += 1.5 * np.exp(-(((t - peak - 0.3) / 0.03) ** 2))
    assert len(r_peaks(signal, LEADS, FS)) == len(AT)
    assert main_lead(("V1", "I", "II")) == 2
    assert main_lead(("V1", "I")) == 1
    assert main_lead(("aVR",)) == 0


def test_each_feature_has_one_group_and_what_is_known_is_beside_it():
    assert len(set(NAMES)) == len(NAMES) == sum(len(feature_names([g])) for g in GROUPS)
    for group in GROUPS:
        assert set(KNOWN[group].values()) <= set(UNITS[group])
    assert lead_of_feature("ST share aVF known") == "aVF"
    assert lead_of_feature("QRS width") == lead_of_feature("highest V") == ""


@pytest.mark.parametrize("chosen", list(RHYTHM_FEATURES))
def test_the_option_chooses_the_form_of_the_task_and_is_in_the_settings(chosen):
    config = load_config({"rhythm_features": chosen})
    task = TASKS[config.task]
    assert task is RHYTHM_FEATURES[chosen]
    assert config.rhythm_features == chosen
    assert load_config(config.model_dump()) == config
    assert load_config({"task": task.name}).rhythm_features == chosen
    changed = {name for name, value in vars(RHYTHM_SIGNAL).items() if vars(task)[name] != value}
    parts = {"name", "features", "feature_groups", "preprocessing", "make_examples"}
    assert changed == (set() if chosen == "none" else parts)


@pytest.mark.parametrize("given", [{"task": "beat"}, {"filter": "wavelet"}, {"task": "rhythm-rr"}])
def test_another_task_has_no_such_form_and_says_so(given):
    with pytest.raises(ConfigError, match=r"--rhythm-features is 'all', which the .* task"):
        load_config(given | {"rhythm_features": "all"})


@pytest.mark.parametrize("source", [SYNTHETIC, SYNTHETIC_HOLTER])
def test_the_signals_are_those_of_the_plain_task(source, tmp_path):
    source = replace(source, n_records=3)
    plain, form = (
        prepare(source, tmp_path, task, tmp_path / "cache") for task in (RHYTHM_SIGNAL, RHYTHM)
    )
    assert plain != form
    assert np.array_equal(np.load(plain / "signals.npy"), np.load(form / "signals.npy"))
    with np.load(plain / "index.npz") as a, np.load(form / "index.npz") as b:
        assert a["names"].tolist() == b["names"].tolist()
        assert a["features"].shape == (len(a["names"]), 0)
        assert b["features"].shape == (len(a["names"]), len(NAMES))
        assert np.isfinite(b["features"]).all()
