"""How a recording becomes examples: the rules of docs/protocol.md on annotations made by hand."""

import numpy as np
import pytest

from fl.ecg.labels import BEAT_CLASSES, RHYTHM_CLASSES
from fl.ecg.records import Annotations, Record
from fl.ecg.rhythm.windows import annotated_in_one_window, labelled_windows
from fl.ecg.tasks import BEAT, RHYTHM
from fl.util.errors import UnusableRecord

FS = 360.0


def notes(*marks):
    """Annotations from (seconds, symbol or rhythm)."""
    return Annotations(
        samples=np.array([round(t * FS) for t, _ in marks], dtype=np.int64),
        symbols=tuple("+" if mark.startswith("(") else mark for _, mark in marks),
        rhythms=tuple(mark if mark.startswith("(") else "" for _, mark in marks),
    )


def every_second(symbol, until=10, since=0):
    return [(t + 0.5, symbol) for t in range(since, until)]


def labels_of(*marks, seconds=10.0):
    """Names of the classes present in each usable window."""
    found = labelled_windows(notes(*sorted(marks)), FS, seconds)
    return [
        {name for name, value in zip(RHYTHM_CLASSES, vector, strict=True) if value == 1}
        for _, vector in found
    ]


def record(annotations, seconds=10.0, leads=("II", "V1"), labels=None):
    rng = np.random.default_rng(0)
    return Record(
        source="made-up",
        name="100",
        patient="100",
        signal=rng.normal(size=(len(leads), round(seconds * FS))).astype(np.float32),
        leads=leads,
        fs=FS,
        labels=labels,
        annotations=annotations,
    )


NORMAL = [(0.0, "(N"), *every_second("N")]


def test_normal_rhythm_with_normal_beats_is_nsr():
    assert labels_of(*NORMAL) == [{"NSR"}]


@pytest.mark.parametrize(
    ("symbol", "classes"),
    [("A", {"PAC"}), ("a", {"PAC"}), ("V", {"PVC"}), ("E", set()), ("L", set()), ("j", set())],
)
def test_one_beat_of_another_kind_excludes_nsr_and_may_be_a_class(symbol, classes):
    assert labels_of(*NORMAL, (5.2, symbol)) == [classes]


@pytest.mark.parametrize(
    ("starts", "is_af"), [(4.0, True), (5.0, True), (5.1, False), (9.0, False)]
)
def test_af_is_at_least_half_the_window(starts, is_af):
    (classes,) = labels_of(*NORMAL, (starts, "(AFIB"))
    assert ("AF" in classes) is is_af
    assert "NSR" not in classes


@pytest.mark.parametrize(("symbol", "name"), [("L", "LBBB"), ("R", "RBBB")])
def test_a_bundle_branch_block_is_at_least_half_the_beats(symbol, name):
    half = [(0.0, "(N"), *every_second("N", 5), *every_second(symbol, 10, since=5)]
    assert labels_of(*half) == [{name}]
    assert labels_of(*half, (0.9, "N")) == [set()]


@pytest.mark.parametrize("rhythm", ["(AFL", "(VFL"])
def test_windows_with_flutter_are_left_out(rhythm):
    assert labels_of(*NORMAL, (9.5, rhythm)) == []


@pytest.mark.parametrize("symbol", ["/", "f", "~", "!", "[", "]"])
def test_windows_with_paced_beats_noise_or_flutter_waves_are_left_out(symbol):
    assert labels_of(*NORMAL, (5.2, symbol)) == []


def test_windows_without_a_beat_are_left_out():
    assert labels_of((0.0, "(N"), *every_second("N", 10), seconds=20.0) == [{"NSR"}]


def test_windows_before_the_first_rhythm_mark_are_left_out():
    marks = [(0.3, "(N"), *every_second("N", 20)]
    windows = list(labelled_windows(notes(*sorted(marks)), FS, 20.0))
    assert [start for start, _ in windows] == [10.0]


def test_a_rhythm_lasts_until_the_next_mark():
    marks = [*NORMAL, *every_second("N", 30, since=10), (12.0, "(AFIB")]
    assert labels_of(*marks, seconds=30.0) == [{"NSR"}, {"AF"}, {"AF"}]


def test_the_end_of_a_recording_that_fills_no_window_is_left_out():
    assert len(labels_of(*NORMAL, *every_second("N", 19, since=10), seconds=19.9)) == 1


def test_holters_do_not_annotate_conduction_time_and_st():
    ((_, vector),) = labelled_windows(notes(*NORMAL), FS, 10.0)
    unknown = [c for c, value in zip(RHYTHM_CLASSES, vector, strict=True) if value == -1]
    assert unknown == ["IAVB", "STD", "STE"]


def test_rhythm_windows_are_named_by_their_start_and_have_1000_samples():
    marks = [(0.0, "(N"), *every_second("N", 20)]
    examples = RHYTHM.make_examples(record(notes(*marks), seconds=20.0))
    assert examples.names == ["100/0000s", "100/0010s"]
    assert [signal.shape for signal in examples.signals] == [(2, 1000), (2, 1000)]
    assert examples.leads == (1, 6)  # II and V1 among the twelve


def test_a_window_can_be_made_an_example_alone_and_is_the_same():
    marks = [(0.0, "(AFIB"), *every_second("N", 30), (12.0, "V"), (21.0, "(N")]
    whole = record(notes(*sorted(marks)), seconds=30.0)
    every = RHYTHM.make_examples(whole)
    for number, name in enumerate(every.names):
        alone = RHYTHM.make_examples(annotated_in_one_window(whole, 10.0 * number))
        assert alone.names == [name]
        assert np.array_equal(alone.signals[0], every.signals[number])
        assert np.array_equal(alone.labels[0], every.labels[number])
        assert np.array_equal(alone.features[0], every.features[number])


def test_a_labelled_recording_is_one_example():
    labels = np.eye(9, dtype=np.int8)[1]
    examples = RHYTHM.make_examples(record(None, seconds=17.0, labels=labels))
    assert examples.names == ["100"]
    assert examples.signals[0].shape == (2, 1700)
    assert examples.labels.tolist() == [labels.tolist()]


def test_a_recording_known_to_show_no_class_is_an_example():
    labels = np.array([-1, *[0] * 8], dtype=np.int8)
    examples = RHYTHM.make_examples(record(None, labels=labels))
    assert examples.labels.tolist() == [labels.tolist()]


def test_a_recording_that_leaves_all_classes_open_or_of_4_seconds_is_refused():
    with pytest.raises(UnusableRecord, match="leaves every class open") as verdict:
        RHYTHM.make_examples(record(None, labels=np.full(9, -1, dtype=np.int8)))
    assert verdict.value.reason == "no-label"
    with pytest.raises(UnusableRecord, match="too short"):
        RHYTHM.make_examples(record(notes(*NORMAL), seconds=4.0))


def test_beats_get_their_ec57_class():
    marks = [(0.0, "(N"), *[(t + 1.0, s) for t, s in enumerate("NLRejAaJSVEFQ")]]
    examples = BEAT.make_examples(record(notes(*marks), seconds=16.0))
    classes = [BEAT_CLASSES[i] for i in examples.labels.argmax(axis=1)]
    assert "".join(classes) == "NNNNNSSSSVVFQ"


def test_there_is_an_example_for_each_beat_with_its_features():
    peaks = [(1.0, "N"), (2.0, "N"), (2.5, "A"), (4.0, "N")]
    annotated = notes((0.0, "(N"), *peaks, (5.0, "~"), (5.5, "!"))
    examples = BEAT.make_examples(record(annotated, leads=("V1", "II")))
    assert examples.names == ["100/000360", "100/000720", "100/000900", "100/001440"]
    assert [signal.shape for signal in examples.signals] == [(2, BEAT.samples)] * 4
    assert examples.features.shape == (4, len(BEAT.features))
    early = BEAT.features.index("pre/local")
    assert examples.features[:, early].argmin() == 2


@pytest.mark.parametrize("symbol", ["/", "f"])
def test_a_recording_with_paced_beats_is_refused_for_beats(symbol):
    with pytest.raises(UnusableRecord, match="paced") as verdict:
        BEAT.make_examples(record(notes(*NORMAL, (9.9, symbol))))
    assert verdict.value.reason == "paced"


@pytest.mark.parametrize(
    ("annotations", "leads", "reason"),
    [
        (None, ("II",), "no-annotation"),
        (notes((1, "N"), (2, "N")), ("II",), "no-annotation"),
        (notes(*NORMAL), ("V1", "V5"), "lead-names"),
    ],
)
def test_beats_need_annotations_and_lead_ii(annotations, leads, reason):
    with pytest.raises(UnusableRecord) as verdict:
        BEAT.make_examples(record(annotations, leads=leads))
    assert verdict.value.reason == reason
