"""The results of the beat study as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fl.ecg.labels import BEAT_CLASSES
from fl.evaluation.ec57 import by_record, intervals, table

Results = Mapping[str, Any]
MOST_S = "232"  # the record with three quarters of the S beats of DS2
MOST_S_CV = "209"  # the record with four tenths of the S beats of DS1
RICH = " rich in S"  # after a record's name: its bursts of S beats, each cut as a recording

TITLES = {
    "standard": "Standard: DS1 to DS2",
    "strict": "Strict: without 201 in training, the same man as 202 in DS2",
    "intra": "Intra-patient: half of all beats by chance. LEAKS: every patient is on both sides",
    "causal standard": "Causal: nothing later than the beat's own window, DS1 to DS2",
    "xqrs standard": "Beats found by the XQRS detector, DS1 to DS2",
    "gqrs standard": "Beats found by the GQRS detector, DS1 to DS2",
}


def runs_of(content: Results, prefix: str) -> dict[str, list[dict[str, Any]]]:
    """Results `prefix/name/seed` by name, in the order of the seeds."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for key, value in content["results"].items():
        kind, name, *seed = key.split("/")
        if kind == prefix and seed:
            by_name.setdefault(name, {})[int(seed[0])] = value
        elif kind == prefix:
            by_name.setdefault(name, {})[0] = value
    return {name: [seeds[s] for s in sorted(seeds)] for name, seeds in by_name.items()}


def stacked(run: Mapping[str, Any], without: str = "") -> np.ndarray[Any, Any]:
    """Counts (record, true class, predicted class) in the order of record names."""
    return np.array(
        [run[name] for name in sorted(run) if name != without and not name.endswith(RICH)]
    )


def rich(run: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Counts (true class, predicted class) over the bursts rich in S; zeros if there are none."""
    counts = [np.array(run[name]) for name in run if name.endswith(RICH)]
    return np.sum([np.zeros((len(BEAT_CLASSES),) * 2, dtype=np.int64), *counts], axis=0)


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are not None; None if there are none."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def number(value: float | None) -> str:
    """Three decimals, or n/a."""
    return "n/a" if value is None else f"{value:.3f}"


def ranged(value: float | None, spread: Sequence[float] | None) -> str:
    """A number with its interval, e.g. `0.812 (0.774 to 0.846)`."""
    if value is None or spread is None:
        return number(value)
    return f"{value:.3f} ({spread[0]:.3f} to {spread[1]:.3f})"


def ds2_tables(content: Results) -> list[str]:
    """Every table of the test on DS2."""
    protocols = runs_of(content, "ds2")
    if not protocols:
        return []
    seeds = len(next(iter(protocols.values())))
    lines = [
        "## Heartbeats between patients (MIT-BIH, ANSI/AAMI EC57)",
        "",
        f"Mean over {seeds} trainings (seeds). Intervals: the middle 95% of 2,000 draws of "
        "records. Settings were compared by cross-validation over DS1 alone; this is the second "
        "look at DS2; what the first look led to is described above. Features and the median beat "
        "use the whole recording (offline use) unless the table says causal. F and Q are not "
        "trained on: F is one patient in DS1 and another in DS2, Q has 8 beats; macro-F1 is over "
        "N, S and V, accuracy over all five.",
        "",
        f"Made by `{content['command']}` on {content['machine']}, torch {content['torch']}, "
        f"data {content['details']['data'][:12]}.",
    ]
    for name in sorted(protocols, key=lambda n: [*TITLES, n].index(n)):
        lines += ["", f"### {TITLES.get(name, name)}", "", *protocol(protocols[name])]
        if name == "intra" and "standard" in protocols:
            gap = mean([macro(r) for r in protocols[name]]) or 0
            gap -= mean([macro(r) for r in protocols["standard"]]) or 0
            lines += ["", f"The gap in macro-F1 to the standard protocol: {gap:.3f}."]
    for name, (quality, *_) in runs_of(content, "detector").items():
        annotated, detected, both = np.array(list(quality.values())).sum(axis=0).tolist()
        lines += [
            "",
            f"The {name} detector on DS2, within 150 ms: sensitivity {both / annotated:.4f}, "
            f"+P {both / detected:.4f} ({annotated} annotated, {detected} found). A beat that it "
            "missed is in no table above.",
        ]
    return lines


def macro(run: Mapping[str, Any]) -> float | None:
    """Gross macro-F1 (N, S, V)."""
    value: float | None = table(stacked(run).sum(axis=0))["macro_f1"]
    return value


def protocol(runs: list[dict[str, Any]]) -> list[str]:
    """One table: measures per class over all beats, with intervals, and as means over records."""
    counts = [stacked(run) for run in runs]
    gross = [table(c.sum(axis=0)) for c in counts]
    records = [by_record(c) for c in counts]
    spread = intervals(counts, seed=0)
    lines = [
        "| class | beats | Se | +P | F1 | F1 of each training | Se, +P, F1: mean over records |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]

    def row(name: str, label: str, some: Sequence[Any], wide: Any, each: Sequence[Any]) -> str:
        measures = [
            ranged(mean([t["classes"][name][m] for t in some]), wide["classes"][name][m])
            for m in ("se", "ppv", "f1")
        ]
        beats = mean([t["classes"][name]["beats"] for t in some])
        trainings = ", ".join(number(t["classes"][name]["f1"]) for t in some)
        by = ", ".join(
            number(mean([t["classes"][name][m] for t in each])) for m in ("se", "ppv", "f1")
        )
        cells = [label, f"{beats:.0f}", *measures, trainings, by]
        return f"| {' | '.join(cells)} |"

    lines += [row(name, name, gross, spread, records) for name in BEAT_CLASSES]
    if any(MOST_S in run for run in runs):
        fewer = [stacked(run, without=MOST_S) for run in runs]
        tables = [table(c.sum(axis=0)) for c in fewer]
        wide, each = intervals(fewer, seed=0), [by_record(c) for c in fewer]
        lines.append(row("S", f"S without {MOST_S}", tables, wide, each))
    accuracy = ranged(mean([t["accuracy"] for t in gross]), spread["accuracy"])
    f1 = ranged(mean([t["macro_f1"] for t in gross]), spread["macro_f1"])
    mean_accuracy = number(mean([r["accuracy"] for r in records]))
    each_f1 = ", ".join(number(t["macro_f1"]) for t in gross)
    return [
        *lines,
        "",
        f"Accuracy {accuracy}, mean over records {mean_accuracy}. "
        f"Macro-F1 (N, S, V) {f1}; each training {each_f1}.",
    ]


def cv_tables(content: Results) -> list[str]:
    """The table of the cross-validation over DS1."""
    rows = runs_of(content, "cv")
    if not rows:
        return []
    lines = [
        "",
        "### Cross-validation over the records of DS1",
        "",
        "Five folds of patients; every record is tested by a network that was not trained on it. "
        f"Each line changes one setting. Beats pooled; record {MOST_S_CV} has four tenths of the S "
        "beats. Rich in S: each burst of S beats with five beats on either side, if at least half "
        "of them are S, tested as if it were a whole recording, so that its median beat, intervals "
        "and neighbours are those of S beats; n/a where a recipe was trained before this was "
        "measured.",
        "",
        "| recipe | macro-F1 | S F1 (Se, +P) | V F1 (Se, +P) | "
        f"S F1 without {MOST_S_CV} | accuracy | rich in S: S F1 (Se, +P) | seeds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in rows.items():
        tables = [table(stacked(run).sum(axis=0)) for run in runs]
        fewer = [table(stacked(run, without=MOST_S_CV).sum(axis=0)) for run in runs]
        bursts = [table(rich(run)) for run in runs]
        cells = [name, number(mean([t["macro_f1"] for t in tables]))]
        cells += [_measures(tables, "S"), _measures(tables, "V")]
        cells.append(number(mean([t["classes"]["S"]["f1"] for t in fewer])))
        cells.append(number(mean([t["accuracy"] for t in tables])))
        cells.append(_measures(bursts, "S"))
        lines.append(f"| {' | '.join([*cells, str(len(runs))])} |")
    return lines


def _measures(tables: Sequence[Mapping[str, Any]], name: str) -> str:
    """F1 of a class with its sensitivity and +P, mean over trainings."""
    f1, se, ppv = (
        number(mean([t["classes"][name][m] for t in tables])) for m in ("f1", "se", "ppv")
    )
    return f"{f1} ({se}, {ppv})"
