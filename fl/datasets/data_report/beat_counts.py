"""Counts the annotated beats of a source: by class, with their patients, and by code."""

from collections import Counter
from dataclasses import dataclass, field

from fl.datasets.mitdb import DS1, DS2, PACED
from fl.ecg.labels import AAMI, BEAT_CLASSES
from fl.ecg.records import Record


@dataclass(kw_only=True)
class BeatCounts:
    """The annotated beats of one set of records, and how many patients have them."""

    beats: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BEAT_CLASSES, 0))
    # AAMI class, or "all" -> patients with at least one such beat
    patients: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((*BEAT_CLASSES, "all"), 0)
    )

    def rows(self) -> dict[str, tuple[int, int]]:
        """Beats and patients of each AAMI class, and of "all"."""
        beats = {**self.beats, "all": sum(self.beats.values())}
        return {c: (n, self.patients[c]) for c, n in beats.items()}


@dataclass(kw_only=True)
class BeatTally:
    """Adds up the beats of a source record by record."""

    sets: dict[str, BeatCounts] = field(default_factory=dict)  # set of records -> its beats
    # symbol that has no AAMI class -> annotations
    codes_without_class: Counter[str] = field(default_factory=Counter)
    _seen: set[tuple[str, str, str]] = field(default_factory=set)  # set, class, patient

    def add(self, record: Record) -> None:
        """Count the annotations of a record, if it has any."""
        if record.annotations is None:
            return
        symbols = Counter(record.annotations.symbols)
        self.codes_without_class.update({s: n for s, n in symbols.items() if s not in AAMI})
        found: Counter[str] = Counter()
        for symbol in symbols & AAMI.keys():
            found[AAMI[symbol]] += symbols[symbol]
        for name in _sets(record):
            counts = self.sets.setdefault(name, BeatCounts())
            for c, n in found.items():
                counts.beats[c] += n
            for c in (*found, "all"):
                if (name, c, record.patient) not in self._seen:
                    self._seen.add((name, c, record.patient))
                    counts.patients[c] += 1


def _sets(record: Record) -> list[str]:
    """The sets of the inter-patient protocol in which the record's beats are counted."""
    if record.source != "mitdb":
        return ["all"]
    if record.name in PACED:
        return ["paced"]
    return ["all non-paced", *(n for n, s in (("DS1", DS1), ("DS2", DS2)) if record.name in s)]
