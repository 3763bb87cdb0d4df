"""Which detector finds the heartbeats of a recording of so many seconds: MIT-BIH's DS1.

    python -m benchmarks.studies.beat_detectors --data-dir DATA

`predict` and `serve` need a detector where a recording has no annotations. XQRS and GQRS learn
their thresholds at the beginning of a recording, which costs beats where it is short. Measured by
ANSI/AAMI EC57 (a detection within 150 ms of a beat has found it) on pieces of the training
patients' lead II, spread over each recording. Nothing is chosen on DS2.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from fl.datasets import DATASETS
from fl.datasets.mitdb import DS1
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.qrs_detection import DETECTORS, MATCH_SECONDS, Peaks, detect_beats, match_beats
from fl.ecg.records import Record
from fl.training.device import one_thread

LENGTHS = (10, 20, 30, 60, 150, 300, 1800)  # s
MOST_SECONDS = 300  # of a recording that are measured at one length, or one piece
FLUTTER_WAVE = "!"  # of ventricular flutter: no beat by EC57, and no false detection either


def piece_starts(samples: int, size: int, most: int) -> list[int]:
    """First samples of at most `most` pieces of `size` samples, spread evenly over a recording."""
    count = min(most, samples // size)
    return [round(i * (samples - size) / max(count - 1, 1)) for i in range(count)]


def measure(record: Record) -> dict[str, dict[str, list[int]]]:
    """For each detector and length (s): beats, those found, and false detections."""
    assert record.annotations is not None
    lead = record.signal[record.leads.index("II")]
    beats, _ = annotated_beats(record.annotations)
    waves = record.annotations.samples[np.array(record.annotations.symbols) == FLUTTER_WAVE]
    found: dict[str, dict[str, list[int]]] = {}
    for detector in DETECTORS:
        for length in LENGTHS:
            size = min(round(length * record.fs), len(lead))
            starts = piece_starts(len(lead), size, max(1, MOST_SECONDS // length))
            pieces = [
                _piece(beats, waves, start, lead[start : start + size], detector, record.fs)
                for start in starts
            ]
            found.setdefault(detector, {})[str(length)] = np.sum(pieces, axis=0).tolist()
    return found


def _piece(
    beats: Peaks, waves: Peaks, start: int, lead: NDArray[Any], detector: str, fs: float
) -> tuple[int, int, int]:
    """Beats inside a piece, those found, and detections that are no beat's."""
    detected = detect_beats(detector, lead, fs) + start
    reach, end = round(MATCH_SECONDS * fs), start + len(lead)
    # A detection at the edge may be that of a beat just outside.
    near = beats[(beats >= start - reach) & (beats < end + reach)]
    annotation, detection = match_beats(near, detected, fs)
    inside = (near >= start) & (near < end)
    rest = np.delete(detected, detection)
    _, flutter = match_beats(waves, rest, fs)
    return int(inside.sum()), int(inside[annotation].sum()), len(rest) - len(flutter)


def shares(counts: Sequence[Sequence[int]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sensitivity and positive predictive value of each patient from (patient, 3) counts."""
    beats, found, false = np.array(counts, dtype=np.float64).T
    return found / beats, found / np.maximum(found + false, 1)


def table(results: Mapping[str, Any]) -> list[str]:
    """Mean over patients and worst patient, of each length and detector."""
    lines = [
        f"{len(results)} patients of DS1, lead II; of each at most {MOST_SECONDS} s in pieces, or "
        "the whole recording (1,800 s). Mean over patients, % (worst patient). Se: beats found; "
        "+P: detections that are beats.",
        "",
        f"| piece | {' | '.join(f'{name} Se | {name} +P' for name in DETECTORS)} |",
        f"| --- {'| --- ' * 2 * len(DETECTORS)}|",
    ]
    for length in map(str, LENGTHS):
        cells = []
        for detector in DETECTORS:
            each = shares([one[detector][length] for one in results.values()])
            cells += [f"{100 * share.mean():.1f} ({100 * share.min():.1f})" for share in each]
        lines.append(f"| {length} s | {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every recording that is not stored yet, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ECG_DATA") or "data"))
    parser.add_argument("--json", type=Path, default=Path("docs/results-beat-detectors.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    one_thread()
    stamp = {
        "settings": {
            "lengths": list(LENGTHS),
            "seconds": MOST_SECONDS,
            "detectors": list(DETECTORS),
        },
        "machine": machine_description("cpu"),
    }
    stored = StoredResults(options.json, stamp)
    stored.expect(DS1)
    results = {
        name: stored.get_or_make(
            name, lambda name=name: measure(DATASETS["mitdb"].read(options.data_dir, name))
        )
        for name in DS1
    }
    text = "\n".join([*table(results), "", f"Made by `{command('studies.beat_detectors')}`."])
    print(text)
    put_between_marks(options.results, "beat-detectors", text)


if __name__ == "__main__":
    main()
