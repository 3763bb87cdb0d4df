"""SMOTE: new training beats of the rarer classes, between neighbours of the site's own beats."""

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fl.data.cohort import Cohort, Indices
from fl.data.shards import Shard
from fl.ecg.tasks import Task
from fl.training.class_imbalance import MOST_COPIES, trainable_examples
from fl.util.errors import ConfigError
from fl.util.random_streams import stream

NEIGHBOURS = 5  # as in the paper
Columns = NDArray[np.float32]


def check_smote(task: Task, row: int) -> None:
    """`ConfigError` if beats of the task cannot be interpolated, for a network that reads `row`."""
    if not (task.exclusive and task.features):
        raise ConfigError(
            f"--imbalance is 'smote', which finds neighbours by the features of heartbeats; the "
            f"{task.name} task has none. Use --imbalance oversampled or undersampled."
        )
    if row > 1:
        raise ConfigError(
            "--imbalance is 'smote', but the network of --model reads beats in the order in which "
            "they came, and an interpolated beat has no place in it. Use another network "
            "(beat_cnn, beat_mlp), or --imbalance oversampled."
        )
    if find_spec("imblearn") is None:
        raise ConfigError(
            "--imbalance is 'smote', which needs imbalanced-learn. Install it: "
            "pip install 'heartfed[smote]'"
        )


def interpolated_beats(cohort: Cohort, seed: int, site: str) -> list[Shard]:
    """New beats of the rarer classes of a site's training beats; one shard for each source.

    Each lies between a beat and one of its five nearest neighbours of the same class by their
    features: features, signal and detector's features at the same share of the way. A class
    becomes as frequent as the most frequent one, or ten times as frequent as it is; one with a
    single beat stays as it is. Same seed, site and beats: same new beats. They belong to training
    alone and count as nobody's: where every patient counts alike in the loss, a new beat counts as
    one of the patient whose beat of its class is nearest to it.
    Source: Chawla et al. 2002, 10.1613/jair.953, as in imbalanced-learn. We find neighbours by
    the features alone, because those describe a beat relative to its own patient.
    """
    examples = trainable_examples(cohort)
    classes = cohort.labels[examples].argmax(axis=1)
    counts = np.bincount(classes, minlength=len(cohort.task.classes))
    frequent = examples[classes == counts.argmax()][:1] if len(examples) else examples
    rng = stream(seed, "smote", site)
    shards: list[Shard] = []
    for number in range(len(counts)):
        wanted = int(min(counts.max(), MOST_COPIES * counts[number]))
        if 2 <= counts[number] < wanted:
            own = examples[classes == number]
            shards += _of_class(cohort, own, frequent, wanted, number, int(rng.integers(2**31)))
    return shards


def _of_class(
    cohort: Cohort, own: Indices, frequent: Indices, wanted: int, number: int, seed: int
) -> Iterator[Shard]:
    # Imported here: with scikit-learn it takes a second that other remedies need not wait.
    from imblearn.over_sampling import SMOTE

    width = len(cohort.task.features)
    values = _values(cohort, np.concatenate([own, frequent]))
    # imbalanced-learn wants to see a second class: one beat of the most frequent one.
    truth = np.array([1] * len(own) + [0] * len(frequent))
    search = _feature_neighbours()(min(NEIGHBOURS, len(own) - 1) + 1, width)
    smote = SMOTE(sampling_strategy={1: wanted}, k_neighbors=search, random_state=seed)
    made = smote.fit_resample(values, truth)[0][len(truth) :].astype(np.float32)
    nearest = own[search.fit(values[: len(own)]).kneighbors(made, 1, return_distance=False)[:, 0]]
    for source in np.unique(cohort.sources[nearest]).tolist():
        rows = np.flatnonzero(cohort.sources[nearest] == source)
        yield _shard(cohort, made[rows], nearest[rows], rows, number, source)


def _values(cohort: Cohort, examples: Indices) -> Columns:
    """Features, detector's features and signals of examples side by side: (example, value)."""
    batch = cohort.batch(examples, np.zeros(len(examples), dtype=np.int64))
    parts = (batch.features, batch.detector_features, batch.signal.flatten(1))
    return np.concatenate([part.numpy() for part in parts], axis=1)


def _shard(
    cohort: Cohort, made: Columns, nearest: Indices, numbers: Indices, label: int, source: str
) -> Shard:
    """New beats of one class and source; `nearest` (beat,) is each one's nearest real beat."""
    task, n = cohort.task, len(made)
    features = len(task.features)
    detected = cohort.detector_features.shape[1]
    # A lead that the recorder did not deliver has no samples in the row of a shard.
    mask = cohort.lead_mask[nearest]
    signal = made[:, features + detected :].reshape(n, task.leads, task.samples)
    sizes = mask.sum(axis=1) * task.samples
    return Shard(
        source=source,
        names=np.array([f"interpolated-{task.classes[label]}-{i:06d}" for i in numbers.tolist()]),
        recordings=cohort.column("recordings")[nearest].astype(np.str_),
        patients=cohort.column("patients")[nearest].astype(np.str_),
        labels=np.tile(np.eye(len(task.classes), dtype=np.int8)[label], (n, 1)),
        features=made[:, :features],
        detector_features=made[:, features : features + detected],
        lead_mask=mask,
        offsets=sizes.cumsum() - sizes,
        lengths=np.full(n, task.samples, dtype=np.int64),
        signals=signal[mask].astype(np.float16).ravel(),
        **_unknown(n),
    )


def _unknown(n: int) -> dict[str, Any]:
    """What is known of recordings and not of examples that were made in memory."""
    nothing = np.full(n, "")
    return {
        "path": Path(),
        "digest": "",
        "excluded": {},
        "fingerprints": {},
        "groups": nothing,
        "first_labels": nothing,
        "sexes": nothing,
        "ages": np.full(n, np.nan, dtype=np.float32),
    }


@cache
def _feature_neighbours() -> Any:
    """A search for neighbours that looks at the first columns alone, which are the features."""
    from sklearn.neighbors import NearestNeighbors

    class FeatureNeighbours(NearestNeighbors):  # type: ignore[misc]
        def __init__(self, n_neighbors: int = NEIGHBOURS + 1, width: int = 1) -> None:
            super().__init__(n_neighbors=n_neighbors)
            self.width = width

        def fit(self, X: Columns, y: None = None) -> Any:
            return super().fit(X[:, : self.width])

        def kneighbors(
            self,
            X: Columns,
            n_neighbors: int | None = None,
            return_distance: bool = True,
        ) -> Any:
            return super().kneighbors(X[:, : self.width], n_neighbors, return_distance)

    return FeatureNeighbours
