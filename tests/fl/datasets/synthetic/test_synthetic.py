"""Synthetic recordings show what their labels say, and each depends only on its name."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import waveform_measures

from fl.datasets.synthetic import SYNTHETIC, SYNTHETIC_HOLTER, Synthetic
from fl.datasets.synthetic.devices import DEVICES
from fl.datasets.synthetic.label_mix import CPSC2018_COUNTS
from fl.ecg.labels import RHYTHM_CLASSES
from fl.ecg.records import LEADS, Record
from fl.util.errors import UnusableRecord

ROOT = Path("nowhere")
COHORTS = pytest.mark.parametrize("cohort", [SYNTHETIC, SYNTHETIC_HOLTER], ids=lambda c: c.name)


def classes(record: Record) -> list[str]:
    return [c for c, y in zip(RHYTHM_CLASSES, record.labels, strict=True) if y == 1]


@pytest.fixture(scope="session")
def clean() -> dict[str, list[Record]]:
    """For each class, twenty records without noise that have only this class."""
    cohort = replace(SYNTHETIC, n_records=1200, noise=0.0)
    by_class: dict[str, list[Record]] = {c: [] for c in RHYTHM_CLASSES}
    for index, name in enumerate(cohort.record_names(ROOT)):
        labels = cohort.patient(index).labels
        if len(labels) == 1 and len(by_class[labels[0]]) < 20:
            by_class[labels[0]].append(cohort.read(ROOT, name))
    assert {len(records) for records in by_class.values()} == {20}
    return by_class


# What a cardiologist would measure with a ruler


def test_the_pr_interval_is_long_in_first_degree_block_and_normal_otherwise(clean):
    pr = {
        c: [waveform_measures.measure(r).p_wave()[1] for r in clean[c]]
        for c in ("NSR", "RBBB", "IAVB")
    }
    assert min(pr["NSR"]) >= 0.11
    assert max(pr["NSR"] + pr["RBBB"]) <= 0.205
    assert min(pr["IAVB"]) > 0.2
    assert np.median(pr["IAVB"]) > 0.215


def test_a_bundle_branch_block_widens_the_qrs(clean):
    width = {c: [waveform_measures.measure(r).qrs for r in clean[c]] for c in RHYTHM_CLASSES}
    assert min(width["LBBB"]) >= 0.12
    # In some records a flat step hides the last part of the QRS.
    assert np.mean(np.array(width["RBBB"]) >= 0.115) >= 0.85
    assert np.median(width["RBBB"]) >= 0.12
    assert max(width["NSR"] + width["IAVB"] + width["PAC"]) < 0.12


def test_left_bundle_branch_block_is_a_deep_v1_a_broad_v6_and_a_discordant_t(clean):
    for beat in map(waveform_measures.measure, clean["LBBB"]):
        assert -beat.qrs_of("V1").min() > 2 * beat.qrs_of("V1").max()
        assert beat.qrs_of("V6").max() > 2 * -beat.qrs_of("V6").min()
        assert beat.t("V1") > 0 > beat.t("V6")


def test_right_bundle_branch_block_is_a_second_r_in_v1_and_a_wide_s_in_v6(clean):
    beats = [waveform_measures.measure(r) for r in clean["RBBB"]]
    assert min(beat.late("V1").max() for beat in beats) > 0.1
    assert max(beat.late("V6").min() for beat in beats) < -0.05


def test_fibrillation_has_no_p_waves_and_an_irregular_rhythm(clean):
    p = {c: [waveform_measures.measure(r).p_wave()[0] for r in clean[c]] for c in ("AF", "NSR")}
    spread = {
        c: [waveform_measures.rr(r).std() / waveform_measures.rr(r).mean() for r in clean[c]]
        for c in ("AF", "NSR")
    }
    assert np.median(p["AF"]) < 0.03 < min(p["NSR"])
    assert np.median(spread["AF"]) > 2 * np.median(spread["NSR"])


def test_fibrillatory_waves_have_four_to_nine_hz(clean):
    rates = np.array([waveform_measures.strongest_rate(record, "V1") for record in clean["AF"]])
    assert np.mean((rates >= 4) & (rates <= 9)) >= 0.85


@pytest.mark.parametrize(("label", "sign"), [("STD", -1), ("STE", 1)])
def test_the_st_segment_is_shifted_in_contiguous_leads(clean, label, sign):
    beats = [waveform_measures.measure(r) for r in clean[label]]
    inferior = sign * np.array([beat.st("II") for beat in beats])
    other = sign * np.array([[beat.st(v) for v in ("aVF", "V4", "V5")] for beat in beats])
    assert inferior.min() > 0.085
    assert np.mean(inferior >= 0.1) >= 0.9
    assert np.mean(other.max(axis=1) >= 0.1) >= 0.8


def test_a_premature_atrial_beat_is_early_narrow_and_resets_the_rhythm(clean):
    pauses = [pause for r in clean["PAC"] for pause in waveform_measures.around(r, "A")]
    before, both = np.median(pauses, axis=0)
    assert before < 0.9
    assert both < 1.9
    assert all(
        waveform_measures.measure(r, "A").qrs < 0.12
        for r in clean["PAC"]
        if waveform_measures.measurable(r, "A")
    )


def test_a_premature_ventricular_beat_is_early_broad_and_followed_by_a_full_pause(clean):
    pauses = [pause for r in clean["PVC"] for pause in waveform_measures.around(r, "V")]
    before, both = np.median(pauses, axis=0)
    assert before < 0.75
    assert both == pytest.approx(2, abs=0.06)
    beats = [
        waveform_measures.measure(r, "V")
        for r in clean["PVC"]
        if waveform_measures.measurable(r, "V")
    ]
    assert np.median([beat.qrs for beat in beats]) > 0.12
    discordant = [beat.qrs_of("V1").sum() * beat.t("V1") < 0 for beat in beats]
    assert np.mean(discordant) >= 0.9


# The cohort


@COHORTS
def test_the_same_seed_gives_the_same_bits_in_any_order(cohort):
    names = cohort.record_names(ROOT)[:6]
    forwards = [cohort.read(ROOT, name) for name in names]
    backwards = [cohort.read(ROOT, name) for name in reversed(names)][::-1]
    for first, second in zip(forwards, backwards, strict=True):
        assert first.signal.tobytes() == second.signal.tobytes()
        assert first.annotations.samples.tolist() == second.annotations.samples.tolist()


def test_another_seed_gives_other_records():
    other = replace(SYNTHETIC, seed=1)
    assert not np.array_equal(
        SYNTHETIC.read(ROOT, "S00001").signal[:, :5000], other.read(ROOT, "S00001").signal[:, :5000]
    )


def test_a_larger_cohort_begins_with_the_smaller_one():
    larger = replace(SYNTHETIC, n_records=SYNTHETIC.n_records * 2)
    assert np.array_equal(SYNTHETIC.read(ROOT, "S00007").signal, larger.read(ROOT, "S00007").signal)


@pytest.mark.parametrize("n_records", [200, 800])
def test_labels_are_as_frequent_as_in_cpsc2018(n_records):
    cohort = replace(SYNTHETIC, n_records=n_records)
    label_sets = [cohort.patient(index).labels for index in range(n_records)]
    counts = Counter(c for labels in label_sets for c in labels)
    for c, published in CPSC2018_COUNTS.items():
        assert counts[c] == pytest.approx(published / 6877 * n_records, rel=0.15, abs=3)
    assert 0.05 < np.mean([len(labels) > 1 for labels in label_sets]) < 0.09


def test_sixty_records_show_every_class():
    cohort = replace(SYNTHETIC, n_records=60)
    assert {c for i in range(60) for c in cohort.patient(i).labels} == set(RHYTHM_CLASSES)


def test_a_patient_keeps_device_age_sex_and_labels():
    cohort = replace(SYNTHETIC, n_records=200)
    by_patient: dict[str, list[Record]] = {}
    for name in cohort.record_names(ROOT):
        record = cohort.read(ROOT, name)
        by_patient.setdefault(record.patient, []).append(record)
    repeated = [records for records in by_patient.values() if len(records) > 1]
    assert sum(map(len, repeated)) == 20
    for records in repeated:
        facts = {(r.group, r.age, r.sex, r.first_label, tuple(r.labels)) for r in records}
        assert len(facts) == 1
        assert not np.array_equal(records[0].signal[:, :5000], records[1].signal[:, :5000])


def test_every_device_occurs():
    patients = [SYNTHETIC.patient(index) for index in range(200)]
    assert {p.device for p in patients} == set(DEVICES)
    assert {p.sex for p in patients} == {"F", "M"}
    assert all(18 <= p.age <= 95 for p in patients)


# The recordings


def test_einthovens_law_holds():
    for name in SYNTHETIC.record_names(ROOT)[:20]:
        lead = dict(zip(LEADS, SYNTHETIC.read(ROOT, name).signal, strict=True))
        assert lead["III"] == pytest.approx(lead["II"] - lead["I"], abs=1e-5)
        assert lead["aVR"] == pytest.approx(-(lead["I"] + lead["II"]) / 2, abs=1e-5)
        assert lead["aVF"] == pytest.approx((lead["II"] + lead["III"]) / 2, abs=1e-5)


@COHORTS
def test_a_record_has_the_shape_and_range_that_its_source_states(cohort):
    for name in cohort.record_names(ROOT)[:40]:
        record = cohort.read(ROOT, name)
        shortest, longest = cohort.seconds
        assert record.signal.dtype == np.float32
        assert record.signal.shape[0] == len(record.leads) == len(cohort.leads)
        assert shortest <= record.signal.shape[1] / record.fs <= longest
        assert np.isfinite(record.signal).all()
        assert np.abs(record.signal).max() < 15  # mV
        assert set(record.labels) <= {0, 1}
        assert record.first_label in classes(record)


@COHORTS
def test_beat_annotations_agree_with_the_labels(cohort):
    for name in cohort.record_names(ROOT)[:120]:
        record = cohort.read(ROOT, name)
        notes, labels = record.annotations, classes(record)
        assert (np.diff(notes.samples) > 0).all()
        assert notes.samples[-1] < record.signal.shape[1]
        assert notes.symbols[0] == "+"
        assert notes.rhythms[0] == ("(AFIB" if "AF" in labels else "(N")
        beats = set(notes.symbols[1:])
        assert ("A" in beats) == ("PAC" in labels)
        assert ("V" in beats) == ("PVC" in labels)
        assert ("L" in beats) == ("LBBB" in labels)
        assert ("R" in beats) == ("RBBB" in labels)
        assert "F" not in beats or "PVC" in labels


def test_fusion_beats_occur():
    beats = Counter(
        symbol
        for name in SYNTHETIC.record_names(ROOT)[:200]
        for symbol in SYNTHETIC.read(ROOT, name).annotations.symbols
    )
    assert beats["F"] > 0


def test_only_chest_leads_are_lost():
    lost = Counter()
    for name in SYNTHETIC.record_names(ROOT)[:400]:
        record = SYNTHETIC.read(ROOT, name)
        flat = np.ptp(record.signal, axis=1) == 0
        lost.update(lead for lead, is_flat in zip(record.leads, flat, strict=True) if is_flat)
    assert lost
    assert all(lead.startswith("V") for lead in lost)


def test_the_two_lead_cohort_has_the_leads_of_a_holter():
    record = SYNTHETIC_HOLTER.read(ROOT, "S00001")
    assert record.leads == ("II", "V1")
    assert record.source == "synthetic-2lead"


@COHORTS
def test_a_synthetic_cohort_is_marked_as_such_and_needs_no_file(cohort):
    assert cohort.card.synthetic
    assert "ynthetic" in cohort.card.title
    assert cohort.exists(ROOT)
    assert cohort.files(ROOT) == []
    assert len(cohort.record_names(ROOT)) == cohort.n_records


@pytest.mark.parametrize("name", ["S00000", "S00801", "S1", "A0001", "S0000x", ""])
def test_an_unknown_record_is_refused_by_name(name):
    with pytest.raises(UnusableRecord, match="S00001 to S00800"):
        SYNTHETIC.read(ROOT, name)


def test_any_leads_can_be_chosen():
    record = Synthetic(name="one-lead", leads=("I",), n_records=3).read(ROOT, "S00001")
    assert record.signal.shape[0] == 1
