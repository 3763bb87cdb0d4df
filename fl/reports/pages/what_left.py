"""What leaves a hospital in the messages of a run: each kind of content, how often, how large.

The list is the one that the egress check enforces, so the page cannot name less than may leave.
"""

from dataclasses import dataclass

from safetensors.numpy import load_file

from fl.config.run_config import NOT_FEDERATED
from fl.evaluation.decisions.score_histograms import BINS
from fl.privacy.egress_policy import (
    CLASS_FIGURES,
    FIGURES,
    HISTOGRAMS,
    INTERVALS,
    NUMBERS,
    TEXTS,
)
from fl.reports.run_files import Run

KINDS = {
    "query": "first words, once",
    "train": "after training, each round",
    "evaluate": "after validation, each round; after the test, once",
}
# In words; a name without words here is shown as it stands.
WORDS = {
    "site": "the hospital's name",
    "sources": "names of its data sets",
    "report": "its measures on its own test records",
    "n-train": "number of training patients",
    "n-records": "number of training examples that an epoch takes",
    "train-patients": "number of training patients",
    "n-val": "number of validation patients",
    "n-test": "number of test patients",
    "num-examples": "number of examples",
    "annotated": "number of patients, or examples, annotated for each class",
    "recorded": "number of patients, or examples, that have each lead",
    "loss-sum": "sum of the loss",
    "n-seen": "number of examples seen",
    "steps": "number of gradient steps",
    "n-patients": "number of patients of each data set",
    "patients": "number of patients",
}
UPDATE = "the network's weights after local training, and SCAFFOLD's control variates where used"
SIGNATURE = "in a deployment, its signature of the message"
ARRAYS = {
    "positive": f"histogram by patient of the scores of each class's positives, {BINS} bins",
    "negative": f"histogram by patient of the scores of each class's negatives, {BINS} bins",
    "patients": "number of patients who show each class, and for whom it is annotated",
}


@dataclass(frozen=True)
class Content:
    """One kind of message: its texts, numbers and arrays in words."""

    kind: str
    when: str
    what: tuple[str, ...]


@dataclass(frozen=True)
class SiteTotal:
    """What one hospital sends over a whole training."""

    site: str
    rounds: int
    weights: int | None  # bytes of all its updates


def contents(secure: bool = False) -> list[Content]:
    """Everything that the egress check lets out, by kind of message.

    `secure`: under secure aggregation an update and a validation leave under masks alone.
    """
    if secure:
        return _secure_contents()
    arrays = {
        "train": [UPDATE],
        "evaluate": [ARRAYS.get(name, name) for name in HISTOGRAMS],
    }
    return [
        Content(
            kind,
            KINDS.get(kind, kind),
            (*_words(TEXTS[kind]), *_words(NUMBERS[kind]), *arrays.get(kind, []), SIGNATURE),
        )
        for kind in TEXTS
    ]


def _secure_contents() -> list[Content]:
    masked = (*_words(NUMBERS["train"]), UPDATE, *(ARRAYS.get(name, name) for name in HISTOGRAMS))
    return [
        Content("query", KINDS["query"], (*_words(TEXTS["query"]), *_words(NUMBERS["query"]))),
        Content(
            "keys",
            "before training, each round",
            (WORDS["site"], "two public keys, signed", WORDS["sources"]),
        ),
        Content(
            "letters",
            "before training, each round",
            ("shares of its two secrets, each sealed for one other hospital",),
        ),
        Content(
            "vector",
            "after training, each round",
            (WORDS["site"], f"under masks, so that only the sum is known: {'; '.join(masked)}"),
        ),
        Content(
            "confirm, reveal",
            "at the end of a round",
            ("a signature", "its shares of the others' secrets, of each hospital one of the two"),
        ),
        Content("evaluate", "after the test, once", (WORDS["site"], WORDS["report"])),
    ]


def _words(names: frozenset[str]) -> list[str]:
    return [WORDS.get(name, name) for name in sorted(names)]


def measures() -> tuple[str, ...]:
    """Names of the measures in a hospital's report: of all classes, and of each class."""
    return tuple(name.replace("_", "-") for name in sorted(FIGURES | INTERVALS | CLASS_FIGURES))


def totals(run: Run) -> list[SiteTotal]:
    """Rounds in which each hospital answered, and the size of its updates, of the main strategy."""
    size = weights_size(run)
    return [
        SiteTotal(site, n, None if size is None else n * size)
        for site in run.shown
        for n in [_rounds(run, site)]
    ]


def weights_size(run: Run) -> int | None:
    """Bytes of the main strategy's weights, and so of one update; frozen layers are not sent."""
    path = run.folder / "weights" / f"{run.main}-best.safetensors"
    if run.config.get("secure_aggregation"):
        return None  # what leaves is a masked vector of another size
    if run.main in NOT_FEDERATED or not path.is_file():
        return None
    transfer = run.facts.transfer
    if transfer is not None and transfer.frozen:
        return sum(
            value.nbytes for name, value in load_file(path).items() if name in transfer.fresh
        )
    return path.stat().st_size


def _rounds(run: Run, site: str) -> int:
    if run.config.get("secure_aggregation"):
        lost = {failure.round for failure in run.facts.failures if failure.site == site}
        return len({row.round for row in run.rounds if row.strategy == run.main} - lost)
    rows = [row for row in run.history if row.strategy == run.main and row.site == site]
    return len({row.round for row in rows if row.split == "val"})
