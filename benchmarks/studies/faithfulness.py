"""Whether the explanations are true to the model: deletion, insertion, and where saliency lies.

Run as `python -m benchmarks.studies.faithfulness --rhythm RUN --beat RUN`, two completed runs on
real recordings that are still in place; a few minutes on one core. The table is written into
docs/results.md. Every example is of a test patient.

Deletion replaces the signal block by block, the block that speaks most for the class first, and
insertion puts it back in the same order: the smaller the area under the first curve of the class's
probability and the larger under the second, the more the answer does depend on what the method
named (Petsiuk et al. 2018, arXiv:1806.07421). Beats are taken away as explained: their samples
become those of the patient's usual beat. Features stay as they are.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.common.results_store import machine_description, put_between_marks
from fl.config.config_file import load_config
from fl.data.cohort import Cohort
from fl.datasets.source_selection import select_sources
from fl.ecg.beat_segments import BEAT_BEFORE, BEAT_FS
from fl.ecg.labels import AAMI
from fl.ecg.records import Record
from fl.ecg.tasks import Task
from fl.explain.attribution import has_time_weights
from fl.explain.baselines import replacement
from fl.explain.reading import Reading, log_odds, readings
from fl.explain.run_networks import RunNetworks, network_or_error
from fl.explain.saliency import Explanation, explain, has_usual_beat, recorded_leads
from fl.explain.tested_examples import tested_examples
from fl.reports.run_files import Run, read_run
from fl.util.random_streams import stream

PAGE = Path("docs/results.md")
POINTS = 20  # of a curve, beside its start
BLOCK = {"rhythm": 0.1, "beat": 0.045}  # s that are taken away at a time, of one lead
DRAWS, FEWEST = 1000, 10  # of the bootstrap; patients without whom there is no interval
# Parts of a beat, ms from the R peak: those by which the beat features are measured, QRS a little
# longer behind R because ventricular beats are wide.
QRS, QRS_AND_T, P_WAVE = (-90, 130), (-90, 440), (-250, -67)
METHODS = ("gradients", "occlusion", "attention", "random order")


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A run's network with its test examples."""

    run: Run
    network: nn.Module
    cohort: Cohort

    @property
    def task(self) -> Task:
        return self.cohort.task


def open_run(folder: Path) -> Tested:
    """The network of a run, of its first fold if it has folds, and what it is tested on."""
    run = read_run(folder)
    fold = "1" if run.folds else ""
    network = network_or_error(RunNetworks(folder, run.config, run.main), fold)
    cohort, _ = tested_examples(folder / f"fold-{fold}" if fold else folder, run.facts)
    return Tested(run=run, network=network.eval(), cohort=cohort)


def by_patient(
    cohort: Cohort, wanted: NDArray[np.bool_], patients: int, each: int, name: str
) -> dict[str, list[int]]:
    """At most `each` of the wanted examples of at most `patients` patients, drawn at random."""
    rows = np.flatnonzero(wanted)
    names = np.unique(cohort.patients[rows])
    drawn = stream(0, "faithfulness", name).permutation(names)[:patients].tolist()
    found = {}
    for patient in sorted(drawn):
        own = rows[cohort.patients[rows] == patient]
        order = stream(0, "faithfulness", name, patient).permutation(len(own))[:each]
        found[patient] = sorted(own[order].tolist())
    return found


def looked(tested: Tested, example: int, target: str, method: str) -> Explanation:
    """Where the network looked in the first crop of one example."""
    # By itself: the others of its cohort would only be counted again each time.
    alone = tested.cohort.take(np.array([example]))
    return explain(tested.network, alone, 0, target, method, crops=1)


def curves(tested: Tested, example: int, target: str, method: str) -> tuple[float, float]:
    """Area under the deletion and the insertion curve of a class's probability, each 0 to 1."""
    alone = tested.cohort.take(np.array([example]))
    reading = readings(tested.network, alone, 0, 1)[0]
    groups = list(recorded_leads(tested.task, reading).values())
    samples = reading.signal.shape[2]
    size = max(1, round(BLOCK[tested.task.name] * tested.task.fs))
    blocks = [(group, start) for group in range(len(groups)) for start in range(0, samples, size)]
    if method == "random order":
        rng = stream(0, "faithfulness", "order", str(tested.cohort.names[example]))
        order = rng.permutation(len(blocks)).tolist()
    else:
        signal = looked(tested, example, target, method).signal
        value = [signal[group, start : start + size].sum() for group, start in blocks]
        order = np.argsort(-np.array(value), kind="stable").tolist()
    gone = replacement(reading, has_usual_beat(tested.task))
    shares = np.linspace(0, 1, POINTS + 1)
    variants = []
    for share in shares:
        deleted, inserted = reading.signal.clone(), gone.clone()
        for block in order[: round(share * len(order))]:
            group, start = blocks[block]
            for row in groups[group]:
                part = slice(start, start + size)
                deleted[0, row, part] = gone[0, row, part]
                inserted[0, row, part] = reading.signal[0, row, part]
        variants += [deleted, inserted]
    p = _probabilities(tested, reading, variants, target)
    return float(np.trapezoid(p[::2], shares)), float(np.trapezoid(p[1::2], shares))


def _probabilities(
    tested: Tested, reading: Reading, variants: Sequence[torch.Tensor], target: str
) -> NDArray[np.float64]:
    number, only = tested.task.classes.index(target), tested.task.exclusive
    with torch.no_grad():
        signals = torch.stack(list(variants))
        features = reading.features.expand(len(variants), *reading.features.shape)
        found = log_odds(tested.network, reading, signals, features, number, only)
    return np.asarray(found.sigmoid().numpy(), dtype=np.float64)


def curve_rows(tested: Tested, chosen: dict[str, dict[str, list[int]]]) -> Iterator[str]:
    """A line of the table for each method; `chosen` has examples of each patient, by class."""
    methods = [m for m in METHODS if m != "attention" or has_time_weights(tested.network)]
    for method in methods:
        means = []
        for target, patients in chosen.items():
            for patient, examples in patients.items():
                areas = [curves(tested, i, target, method) for i in examples]
                means.append((patient, *np.mean(areas, axis=0).tolist()))
        people = sorted({patient for patient, *_ in means})
        values = np.array(
            [np.mean([row[1:] for row in means if row[0] == who], axis=0) for who in people]
        )
        examples = sum(len(e) for patients in chosen.values() for e in patients.values())
        cells = [with_interval(values[:, column], np.mean) for column in (0, 1)]
        counts = f"{len(people)} | {examples}"
        yield f"| {tested.task.name} | {method} | {cells[0]} | {cells[1]} | {counts} |"
        print(f"{tested.task.name} {method}: {cells}", flush=True)


def with_interval(
    values: NDArray[np.float64], of: Callable[[NDArray[np.float64]], np.floating]
) -> str:
    """A mean or median over patients, with the middle 95% of draws of patients."""
    text = f"{float(of(values)):.3f}"
    if len(values) < FEWEST:
        return text
    rng = stream(0, "faithfulness", "bootstrap")
    drawn = [float(of(values[rng.integers(0, len(values), len(values))])) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{text} ({low:.3f} to {high:.3f})"


def share_inside(found: Explanation, times: NDArray[np.float64], window: tuple[int, int]) -> float:
    """Share of the absolute saliency within a window: `times` (sample,) are ms from the R peak."""
    size = np.abs(found.smoothed).sum(axis=0)
    inside = (times >= window[0]) & (times <= window[1])
    return float(size[inside].sum() / size.sum()) if size.sum() else float("nan")


def beat_shares(tested: Tested, target: str, window: tuple[int, int], each: int) -> Iterator[str]:
    """Of beats of a class: how much of the saliency lies in a part of the beat, by method."""
    labelled = tested.cohort.labels[:, tested.task.classes.index(target)] == 1
    chosen = by_patient(tested.cohort, labelled, len(labelled), each, f"share {target}")
    times = (np.arange(tested.task.samples) + 0.5) * 1000 / tested.task.fs
    times -= BEAT_BEFORE * 1000 / BEAT_FS
    expected = float(((times >= window[0]) & (times <= window[1])).mean())
    for method in ("gradients", "occlusion"):
        shares = [
            [share_inside(looked(tested, i, target, method), times, window) for i in examples]
            for examples in chosen.values()
        ]
        yield share_row(f"beat, {target}", method, window, shares, expected)


def window_shares(tested: Tested, root: Path, patients: int, each: int) -> Iterator[str]:
    """Of 10 s windows of MIT-BIH with exactly one V beat: the saliency on its QRS and T wave."""
    source = select_sources(load_config(tested.run.config)).sources["mitdb"]
    cohort, pvc = tested.cohort, tested.task.classes.index("PVC")
    wanted = (cohort.sources == "mitdb") & (cohort.labels[:, pvc] == 1)
    peak_of: dict[int, float] = {}
    for i in np.flatnonzero(wanted).tolist():
        recording, _, start = str(cohort.names[i]).rpartition("/")
        beats = _ventricular(source.read(root, recording), float(start.removesuffix("s")))
        if len(beats) == 1 and 0.1 < beats[0] < 9.5:
            peak_of[i] = beats[0]
    single = np.isin(np.arange(len(cohort)), list(peak_of))
    chosen = by_patient(cohort, single, patients, each, "share PVC")
    samples = np.arange(tested.task.samples) * 1000 / tested.task.fs
    for method in METHODS[:3]:
        if method == "attention" and not has_time_weights(tested.network):
            continue
        shares = [
            [
                share_inside(
                    looked(tested, i, "PVC", method), samples - 1000 * peak_of[i], QRS_AND_T
                )
                for i in examples
            ]
            for examples in chosen.values()
        ]
        expected = (QRS_AND_T[1] - QRS_AND_T[0]) / samples[-1]
        yield share_row("rhythm, PVC, one V beat in 10 s", method, QRS_AND_T, shares, expected)


def _ventricular(record: Record, start: float) -> list[float]:
    """Times (s from `start`) of the V beats in the 10 s after it."""
    notes = record.annotations
    assert notes is not None
    times = notes.samples / record.fs - start
    return [
        float(t)
        for t, symbol in zip(times, notes.symbols, strict=True)
        if 0 <= t < 10 and AAMI.get(symbol) == "V"
    ]


def share_row(
    what: str, method: str, window: tuple[int, int], shares: list[list[float]], expected: float
) -> str:
    """A line of the table: the median over patients of each one's median, and over all examples."""
    kept = [np.array([s for s in row if np.isfinite(s)]) for row in shares]
    kept = [row for row in kept if len(row)]
    medians = np.array([np.median(row) for row in kept])
    every = np.concatenate(kept)
    counts = f"{len(kept)} | {len(every)}"
    line = (
        f"| {what} | {method} | {window[0]} to {window[1]} | {expected:.2f} | "
        f"{with_interval(medians, np.median)} | {np.median(every):.3f} | {counts} |"
    )
    print(line, flush=True)
    return line


def tables(rhythm: Tested, beat: Tested, quick: bool) -> list[str]:
    """All tables as lines of Markdown."""
    people, each = (6, 1) if quick else (60, 2)
    labels = rhythm.cohort.labels
    shown = {
        c: by_patient(rhythm.cohort, labels[:, i] == 1, people // 6, 1, f"curves {c}")
        for i, c in enumerate(rhythm.task.classes)
    }
    ectopic = {
        c: by_patient(
            beat.cohort,
            beat.cohort.labels[:, beat.task.classes.index(c)] == 1,
            people,
            each,
            f"curves {c}",
        )
        for c in ("S", "V")
    }
    lines = [
        "| task | order by | deletion (lower is better) | insertion (higher is better) | patients "
        "| examples |",
        "| --- | --- | --- | --- | --- | --- |",
        *curve_rows(rhythm, shown),
        *curve_rows(beat, ectopic),
        "",
        "Area under the curve of the class's probability, mean over patients (the middle 95% of "
        f"draws of patients, from {FEWEST} patients on), for a class that the example is labelled "
        f"with, whether or not it was predicted. Blocks of {1000 * BLOCK['rhythm']:.0f} ms of one "
        f"lead (rhythm) and {1000 * BLOCK['beat']:.0f} ms (beats).",
        "",
        "| examples | method | window (ms from R) | its share of time | median over patients | "
        "median over examples | patients | examples |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    count = 2 if quick else 20
    for target, window in (("V", QRS_AND_T), ("V", QRS), ("S", P_WAVE)):
        lines += beat_shares(beat, target, window, count)
    lines += window_shares(rhythm, Path(rhythm.run.config["data_dir"]), people, count // 2)
    lines += [
        "",
        "Share of the absolute saliency (summed over 60 ms and, of rhythm, over the leads) within "
        "a window around the R peak; a method that knows nothing has the window's share of time.",
    ]
    return lines


def main() -> None:
    """Measure, and write the tables into docs/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rhythm", type=Path, required=True, help="run directory")
    parser.add_argument("--beat", type=Path, required=True, help="run directory")
    parser.add_argument("--quick", action="store_true", help="few patients, to see that it runs")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    rhythm, beat = open_run(options.rhythm), open_run(options.beat)
    made_by = (
        "Made by `python -m benchmarks.studies.faithfulness --rhythm RUN --beat RUN` on "
        f"{machine_description('cpu')}. {described(rhythm)} {described(beat)}"
    )
    text = "\n".join([made_by, "", *tables(rhythm, beat, options.quick)])
    put_between_marks(options.page, "faithfulness", text)


def described(tested: Tested) -> str:
    """What was explained: `rhythm: reslstm_temporalse, fedavg, 8 sites, 6 rounds, seed 0.`"""
    config, folds = tested.run.config, tested.run.folds
    fold = f", the model of the first of {folds} folds" if folds else ""
    return (
        f"{tested.task.name}: {config['model']}, {tested.run.main}, {len(tested.run.sites)} sites, "
        f"{config['rounds']} rounds, seed {config['seed']}{fold}."
    )


if __name__ == "__main__":
    main()
