"""Train the small beat network whose answers are features of the rhythm networks: SVDB alone.

    python -m benchmarks.studies.rhythm_beat_model --data-dir DATA [--write]

SVDB is used by no rhythm training or test. Its half-hour recordings are cut into pieces of 8 to 30
s, like those of the rhythm task; in each piece R peaks are detected and features are computed as
for a rhythm recording, and a detected beat has the class of the annotated one within 150 ms. Five
folds of the patients give the figures; with `--write` the network is then trained on all patients,
and its weights and `svdb_beats.md` are written beside `fl/ecg/rhythm/beat_scores.py`.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from sklearn.metrics import roc_auc_score

from fl.datasets.svdb import SVDB
from fl.ecg import rhythm
from fl.ecg.beat_examples import FEWEST_BEATS
from fl.ecg.beat_features import FEATURES
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.filters import bandpass, resample
from fl.ecg.labels import AAMI
from fl.ecg.qrs_detection import match_beats
from fl.ecg.records import Record
from fl.ecg.rhythm.beat_scores import CLASSES, WEIGHTS, features_of_beats, probabilities
from fl.ecg.rhythm.features import FEATURE_FS
from fl.ecg.rhythm.r_peaks import r_peaks
from fl.models.beat_mlp import BeatMLP
from fl.util.atomic_io import write_atomically
from fl.util.random_streams import stream

PIECE_SECONDS = 8.0, 30.0
FOLDS, SEED = 5, 18
STEPS, BATCH, LR, WEIGHT_DECAY = 4000, 512, 3e-3, 0.05
FEATURE_NOISE = 0.1  # standard deviation, as the augmentation of the beat task
NETWORK = BeatMLP()


@dataclass(frozen=True, kw_only=True)
class Beats:
    """Detected beats of all pieces."""

    features: NDArray[np.float32]  # (beat, feature)
    classes: NDArray[np.int64]  # (beat,) position in CLASSES
    patients: NDArray[np.int64]  # (beat,)
    pieces: NDArray[np.int64]  # (beat,) number of the piece

    def take(self, rows: NDArray[np.bool_]) -> "Beats":
        """The beats where `rows` (beat,) is true."""
        return Beats(**{name: column[rows] for name, column in vars(self).items()})


def beats_of(record: Record, patient: int, first_piece: int) -> Beats | None:
    """The beats of one recording; None if it has no usable one."""
    assert record.annotations is not None
    rng = stream(SEED, "pieces", record.name)
    annotated, symbols = annotated_beats(record.annotations)
    rows, classes, pieces, start, piece = [], [], [], 0.0, first_piece
    seconds = record.signal.shape[1] / record.fs
    while start + PIECE_SECONDS[0] <= seconds:
        end = min(seconds, start + rng.uniform(*PIECE_SECONDS))
        begin, stop = round(start * record.fs), round(end * record.fs)
        lead = resample(record.signal[:1, begin:stop], record.fs, FEATURE_FS)
        lead = bandpass(lead, FEATURE_FS)
        peaks = r_peaks(lead, record.leads[:1], FEATURE_FS)
        inside = (annotated >= begin) & (annotated < stop)
        truth = np.rint((annotated[inside] - begin) * (FEATURE_FS / record.fs)).astype(np.int64)
        start, piece = end, piece + 1
        if len(peaks) < FEWEST_BEATS:
            continue
        features = features_of_beats(lead, FEATURE_FS, peaks)
        of_truth, of_peak = match_beats(truth, peaks, FEATURE_FS)
        for i, j in zip(of_truth.tolist(), of_peak.tolist(), strict=True):
            name = AAMI[str(symbols[inside][i])]
            if name in CLASSES:
                rows.append(features[j])
                classes.append(CLASSES.index(name))
                pieces.append(piece)
    if not rows:
        return None
    return Beats(
        features=np.stack(rows),
        classes=np.array(classes),
        patients=np.full(len(rows), patient),
        pieces=np.array(pieces),
    )


def all_beats(root: Path) -> Beats:
    """The beats of every recording of SVDB."""
    parts: list[Beats] = []
    for patient, name in enumerate(SVDB.record_names(root)):
        first = int(parts[-1].pieces.max()) + 1 if parts else 0
        if (found := beats_of(SVDB.read(root, name), patient, first)) is not None:
            parts.append(found)
    return Beats(
        **{name: np.concatenate([vars(p)[name] for p in parts]) for name in vars(parts[0])}
    )


def train(beats: Beats, seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights of the network, trained on these beats, drawn by the root of their number.

    A class is drawn by the root of its count, and within it a patient by the root of its beats: few
    patients have most of the S beats.
    """
    torch.manual_seed(seed)
    network = NETWORK.build(leads=1, samples=1, features=len(FEATURES), classes=len(CLASSES))
    rng = stream(seed, "batches")
    weights = np.zeros(len(beats.classes))
    for c in range(len(CLASSES)):
        of_class = beats.classes == c
        if not of_class.any():
            continue
        counts = np.bincount(beats.patients[of_class], minlength=beats.patients.max() + 1)
        weights[of_class] = 1 / np.sqrt(counts[beats.patients[of_class]])
        weights[of_class] *= np.sqrt(of_class.sum()) / weights[of_class].sum()
    draws = rng.choice(len(weights), size=(STEPS, BATCH), p=weights / weights.sum())
    optimizer = torch.optim.AdamW(network.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=STEPS)
    features, classes = torch.from_numpy(beats.features), torch.from_numpy(beats.classes)
    empty = torch.zeros(BATCH, 1)
    for rows in torch.from_numpy(draws):
        seen = features[rows] + FEATURE_NOISE * torch.randn(BATCH, features.shape[1])
        loss = torch.nn.functional.cross_entropy(network(empty, empty, seen), classes[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: value.numpy() for name, value in network.state_dict().items()}


def figures(beats: Beats, p: NDArray[np.float64]) -> dict[str, float]:
    """AUROC of S and V over beats, and over pieces by their highest probability."""
    found = {}
    _, piece = np.unique(beats.pieces, return_inverse=True)
    for c, name in enumerate(CLASSES):
        if name == "N":
            continue
        found[f"beats {name}"] = float(roc_auc_score(beats.classes == c, p[:, c]))
        present, highest = np.zeros(piece.max() + 1), np.zeros(piece.max() + 1)
        np.maximum.at(present, piece, beats.classes == c)
        np.maximum.at(highest, piece, p[:, c])
        found[f"pieces {name}"] = float(roc_auc_score(present, highest))
    return found


def cross_validated(beats: Beats) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over the folds of each figure; every patient is tested once."""
    patients = stream(SEED, "folds").permutation(np.unique(beats.patients))
    found = []
    for fold in range(FOLDS):
        held = np.isin(beats.patients, patients[fold::FOLDS])
        weights = train(beats.take(~held), SEED)
        tested = beats.take(held)
        found.append(figures(tested, probabilities(weights, tested.features)))
        print(fold, {name: round(value, 3) for name, value in found[-1].items()}, flush=True)
    table = {name: [one[name] for one in found] for name in found[0]}
    return {name: (float(np.mean(v)), float(np.std(v))) for name, v in table.items()}


def card(beats: Beats, found: dict[str, tuple[float, float]]) -> str:
    """What is to be known of the weights, as Markdown."""
    with_class = {
        name: len(np.unique(beats.patients[beats.classes == c])) for c, name in enumerate(CLASSES)
    }
    counted = ", ".join(
        f"{name} {(beats.classes == c).sum():,} of {with_class[name]} patients"
        for c, name in enumerate(CLASSES)
    )
    rows = "\n".join(f"| {name} | {mean:.3f} | {sd:.3f} |" for name, (mean, sd) in found.items())
    return f"""# {WEIGHTS}

A small network that gives each heartbeat probabilities of N, S and V (ANSI/AAMI EC57). Over the
beats of a recording they are features of the rhythm networks: `fl/ecg/rhythm/beat_scores.py`.
Research software, not a medical device.

- Made by `python -m benchmarks.studies.rhythm_beat_model --write` on {date.today()}, seed {SEED},
  {STEPS} steps of {BATCH} beats, AdamW, peak learning rate {LR}.
- Network: `beat_mlp` without early features: {len(FEATURES)} features of a beat, two dense layers
  of {NETWORK.hidden}, three classes.
- Data: {SVDB.card.title}, {len(np.unique(beats.patients))} patients, in pieces of
  {PIECE_SECONDS[0]:.0f} to {PIECE_SECONDS[1]:.0f} s with detected R peaks; beats:
  {counted}.
  No other recording was seen; no rhythm training or test uses SVDB.
- Licence of the data: {SVDB.card.licence}. {SVDB.card.citation}

AUROC on patients that did not train, mean and standard deviation over {FOLDS} folds; `pieces`: by
the highest probability in a piece, whether it has such a beat.

| | mean | sd |
| --- | ---: | ---: |
{rows}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Validate, and with `--write` also train on all patients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    beats = all_beats(options.data_dir)
    text = card(beats, cross_validated(beats))
    print(text)
    if options.write:
        folder = Path(str(rhythm.__path__[0]))
        write_atomically(folder / WEIGHTS, save(train(beats, SEED)))
        write_atomically((folder / WEIGHTS).with_suffix(".md"), text.encode())


if __name__ == "__main__":
    main()
