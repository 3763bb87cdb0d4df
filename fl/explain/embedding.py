"""How a network arranges recordings: its summaries of test examples, in two dimensions."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.data.beat_rows import covering_rows
from fl.data.cohort import Cohort, Indices
from fl.explain.reading import BATCH_SAMPLES
from fl.models.network_input import network_input
from fl.models.network_parts import embedding_layer
from fl.training.device import one_thread
from fl.util.atomic_io import write_atomically
from fl.util.errors import ConfigError, DataError
from fl.util.random_streams import stream

MOST_POINTS, FEWEST_POINTS = 5000, 16
POINTS, PERPLEXITY, SEED = 2000, 30.0, 0
PER_PATIENT = 10  # points of a patient, where an even share is fewer
COMPONENTS = 50  # principal components that t-SNE reads, as van der Maaten & Hinton did
NO_CLASS, SEVERAL = "none", "several"
CSV, FACTS = Path("report") / "embedding.csv", Path("report") / "embedding.json"
COLUMNS = ("x", "y", "source", "record", "patient", "site", "class")
DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """Test examples in the plane: those that the network describes alike lie side by side."""

    position: NDArray[np.float64]  # (point, 2); t-SNE has no unit
    source: tuple[str, ...]  # (point,)
    record: tuple[str, ...]  # (point,) the example's name
    patient: tuple[str, ...]
    site: tuple[str, ...]
    label: tuple[str, ...]  # (point,) a class, NO_CLASS or SEVERAL
    facts: "ArrangementFacts"


@dataclass(frozen=True, kw_only=True)
class ArrangementFacts:
    """How an arrangement was made."""

    task: str
    model: str
    strategy: str
    classes: tuple[str, ...]
    unit: str  # what the examples are called
    points: int
    of: int  # test examples
    patients: int
    per_patient: int  # most examples of one patient
    perplexity: float
    seed: int
    width: int  # numbers in the network's summary of an example
    synthetic: bool
    note: str = ""  # what else a reader must know


def summaries(network: nn.Module, cohort: Cohort, examples: Indices) -> NDArray[np.float64]:
    """What the network's dense layers are given of each example: (example, width).

    Of a recording that is longer than the network's input, its first crop is read; of beats that
    are read in rows, each in the row in which a prediction answers it.
    """
    one_thread()
    network.to("cpu").eval()
    seen: list[Tensor] = []
    hook = embedding_layer(network).register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].detach().flatten(1).double())
    )
    read = network_input(network)
    make = cohort.batch if read.signal else cohort.batch_without_signals
    try:
        with torch.no_grad():
            if read.row > 1:
                return _of_rows(network, cohort, examples, seen)
            size = max(1, BATCH_SAMPLES // cohort.task.samples)
            for begin in range(0, len(examples), size):
                some = examples[begin : begin + size]
                batch = make(some, np.zeros(len(some), dtype=np.int64))
                network(batch.signal, batch.lead_mask, batch.features)
    finally:
        hook.remove()
    return np.asarray(torch.cat(seen).numpy(), dtype=np.float64)


def _of_rows(
    network: nn.Module, cohort: Cohort, examples: Indices, seen: list[Tensor]
) -> NDArray[np.float64]:
    read = network_input(network)
    make = cohort.batch if read.signal else cohort.batch_without_signals
    rows, answered = covering_rows(cohort, read.row, read.later)
    found: dict[int, NDArray[np.float64]] = {}
    wanted = set(examples.tolist())
    for row, used in zip(rows, answered, strict=True):
        places = [i for i in np.flatnonzero(used).tolist() if int(row[i]) in wanted]
        if places:
            batch = make(row, np.zeros(len(row), dtype=np.int64))
            network(batch.signal, batch.lead_mask, batch.features)
            values = seen.pop().numpy()
            found |= {int(row[i]): values[i] for i in places}
    return np.stack([found[i] for i in examples.tolist()])


def sample_by_patient(patients: NDArray[np.str_], points: int, seed: int) -> tuple[Indices, int]:
    """At most `points` examples in their order, and the most of one patient.

    Every patient gives the same number, or all examples if there are fewer: an even share of
    `points`, or PER_PATIENT if that is more and there is room. Where even one of each is too many,
    patients are drawn. So no Holter patient with thousands of beats fills the picture.
    """
    names, person, counts = np.unique(patients, return_inverse=True, return_counts=True)
    most, quota = max(points // max(len(names), 1), PER_PATIENT), 0
    while quota < most and np.minimum(counts, quota + 1).sum() <= points:
        quota += 1
    allowed = set(range(len(names)))
    if quota == 0:
        quota = 1
        drawn = stream(seed, "embedding", "patients").permutation(len(names))[:points]
        allowed = set(drawn.tolist())
    taken = []
    for number in sorted(allowed):
        own = np.flatnonzero(person == number)
        order = stream(seed, "embedding", str(names[number])).permutation(len(own))
        taken.append(own[order[:quota]])
    chosen = np.sort(np.concatenate(taken)) if taken else np.zeros(0, dtype=np.int64)
    return chosen, quota


def in_the_plane(
    features: NDArray[np.float64], perplexity: float, seed: int
) -> NDArray[np.float64]:
    """t-SNE of the features, each standardised: (point, width) -> (point, 2).

    Source: van der Maaten & Hinton 2008, JMLR 9:2579; started from the principal components. Close
    neighbours in the picture are close; distances between groups and their sizes mean nothing.
    """
    # Imported here: only this picture needs it, and it takes a second to load.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    components = min(COMPONENTS, *scaled.shape)
    reduced = PCA(components, svd_solver="full").fit_transform(scaled)
    placed = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(np.round(placed.fit_transform(reduced), DECIMALS), dtype=np.float64)


def arrange(
    network: nn.Module,
    cohort: Cohort,
    sites: NDArray[np.str_],
    *,
    model: str,
    strategy: str,
    unit: str,
    synthetic: bool,
    points: int = POINTS,
    perplexity: float | None = None,
    seed: int = SEED,
    note: str = "",
) -> Arrangement:
    """Arranges examples of a cohort, of which `sites` (example,) names the sites.

    Without a `perplexity` it is PERPLEXITY, or a third of the examples where that is less.
    Raises ConfigError if there are more points than MOST_POINTS or too few for the perplexity.
    """
    if not 0 < points <= MOST_POINTS:
        raise ConfigError(f"--points is {points}. Accepted: 1 to {MOST_POINTS}.")
    chosen, quota = sample_by_patient(cohort.patients, points, seed)
    most = (len(chosen) - 1) / 3
    if len(chosen) < FEWEST_POINTS:
        raise ConfigError(
            f"there are {len(chosen)} test examples to arrange; at least {FEWEST_POINTS} are "
            "needed. Name a run with more of them, or raise --points."
        )
    perplexity = min(PERPLEXITY, float(int(most))) if perplexity is None else perplexity
    if not 1 <= perplexity <= most:
        raise ConfigError(
            f"--perplexity is {perplexity:g} for {len(chosen)} test examples. Give 1 to a third "
            "of the examples, or a run with more of them."
        )
    features = summaries(network, cohort, chosen)
    taken = cohort.take(chosen)
    facts = ArrangementFacts(
        task=cohort.task.name,
        model=model,
        strategy=strategy,
        classes=cohort.task.classes,
        unit=unit,
        points=len(chosen),
        of=len(cohort),
        patients=len(np.unique(taken.patients)),
        per_patient=quota,
        perplexity=perplexity,
        seed=seed,
        width=features.shape[1],
        synthetic=synthetic,
        note=note,
    )
    return Arrangement(
        position=in_the_plane(features, perplexity, seed),
        source=tuple(taken.sources.tolist()),
        record=tuple(taken.names.tolist()),
        patient=tuple(taken.patients.tolist()),
        site=tuple(sites[chosen].tolist()),
        label=tuple(_label(row, cohort.task.classes) for row in taken.labels),
        facts=facts,
    )


def _label(labels: NDArray[np.int8], classes: Sequence[str]) -> str:
    shown = [c for c, value in zip(classes, labels.tolist(), strict=True) if value == 1]
    return shown[0] if len(shown) == 1 else SEVERAL if shown else NO_CLASS


def write_arrangement(folder: Path, found: Arrangement) -> list[Path]:
    """report/embedding.csv and .json of a run directory; their paths."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    columns = (found.source, found.record, found.patient, found.site, found.label)
    for (x, y), *words in zip(found.position.tolist(), *columns, strict=True):
        writer.writerow([f"{x:.{DECIMALS}f}", f"{y:.{DECIMALS}f}", *words])
    (folder / CSV).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / CSV, text.getvalue().encode())
    write_atomically(folder / FACTS, json.dumps(asdict(found.facts), indent=1).encode())
    return [folder / CSV, folder / FACTS]


def read_arrangement(folder: Path) -> Arrangement | None:
    """The arrangement in a run directory; None if none was made.

    Raises DataError if its files do not fit each other.
    """
    if not ((folder / CSV).is_file() and (folder / FACTS).is_file()):
        return None
    try:
        content: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        facts = ArrangementFacts(**content | {"classes": tuple(content["classes"])})
        with (folder / CSV).open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        position = np.array([[float(row["x"]), float(row["y"])] for row in rows])
        words = {name: tuple(row[name] for row in rows) for name in COLUMNS[2:]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder / CSV}: cannot be read ({error}). Draw it again: python -m fl.explain embed "
            f"{folder}"
        ) from None
    return Arrangement(position=position, facts=facts, label=words.pop("class"), **words)
