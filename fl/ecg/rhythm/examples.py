"""Rhythm examples with features of their heartbeats and waves."""

from collections.abc import Sequence
from dataclasses import replace

from fl.ecg.records import Examples, Record
from fl.ecg.rhythm.features import feature_rows
from fl.ecg.rhythm.windows import WINDOW_SECONDS, labelled_windows, rhythm_examples


def examples_with_features(record: Record, groups: Sequence[str]) -> Examples:
    """As `rhythm_examples`, with the features of these groups (`features.GROUPS`).

    Raises UnusableRecord if the recording is too short or none of it has a label.
    """
    examples = rhythm_examples(record)
    seconds = record.signal.shape[1] / record.fs
    parts = [(0.0, seconds)]
    if record.labels is None and record.annotations is not None:
        windows = labelled_windows(record.annotations, record.fs, seconds)
        parts = [(start, start + WINDOW_SECONDS) for start, _ in windows]
    return replace(examples, features=feature_rows(record, parts, groups))
