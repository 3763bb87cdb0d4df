"""The monitor on MIT-BIH's DS2, which its model was not trained on: beats, alarms, fibrillation.

    python -m run_sim --task beat-causal --model beat_gru_causal --clients 8 --site-folds 0 \\
        --per-recording 400 --seed 20 --data-dir DATA --name causal
    python -m benchmarks.studies.monitor --data-dir DATA \\
        --weights runs/causal/weights/fedavg-best.safetensors

Beats are compared as bxb does (`fl.evaluation.ec57`), without the first five minutes. What an alarm
should do is what its own rule does with the annotated beats and rhythm of the recording; an alarm
is right if the two are at most TOLERANCE apart. Nothing is chosen here.
"""

import argparse
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.results_store import (
    StoredResults,
    command,
    machine_description,
    put_between_marks,
)
from fl.datasets import DATASETS
from fl.datasets.mitdb import DS2
from fl.ecg.beat_segments import annotated_beats
from fl.ecg.labels import AAMI, BEAT_CLASSES
from fl.ecg.records import Annotations, Record
from fl.evaluation import ec57
from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS
from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.evaluation.ec57_episodes import EpisodeCounts, compare_episodes
from fl.monitor.alarm_watch import AlarmWatch, Moment
from fl.monitor.alarms import ALARMS
from fl.monitor.beat_classifier import BeatClassifier, load_beat_model
from fl.monitor.events import Event
from fl.monitor.stream import BLOCK_SECONDS, Monitor
from fl.training.device import one_thread
from fl.util.file_digest import file_digest
from fl.util.random_streams import stream

TOLERANCE = 5.0  # s between an alarm and the annotated episode
FIBRILLATION = "(AFIB"
FLUTTER = ("(AFL",)  # neither right nor wrong as fibrillation
DRAWS = 2000
Episodes = dict[str, list[tuple[float, float]]]  # by alarm


def measure(record: Record, weights: Path) -> dict[str, Any]:
    """Counts of one recording, as JSON."""
    assert record.annotations is not None
    classifier = BeatClassifier(load_beat_model(weights, POOLED_SOURCE), POOLED_SOURCE)
    monitor = Monitor(record.leads, record.fs, classifier)
    step = round(BLOCK_SECONDS * record.fs)
    events: list[Event] = []
    for start in range(0, record.signal.shape[1], step):
        events += monitor.push(record.signal[:, start : start + step])
    events += monitor.finish()
    beats = [event for event in events if event.kind == "beat"]
    peaks, symbols = annotated_beats(record.annotations)
    classes = np.array([BEAT_CLASSES.index(AAMI[symbol]) for symbol in symbols.tolist()])
    compared = ec57.compare_beats(
        peaks,
        classes,
        np.array([event.sample for event in beats], dtype=np.int64),
        np.array([BEAT_CLASSES.index(event.facts["class"] or "N") for event in beats]),
        record.fs,
        skip_seconds=ec57.LEARNING_SECONDS,
        fibrillation=ec57.fibrillation_of(record.annotations),
    )
    seconds = record.signal.shape[1] / record.fs
    truth = reference_alarms(record, seconds)
    found = episodes_of(events, seconds)
    fibrillation = rhythm_episodes(record.annotations, record.fs, seconds, (FIBRILLATION,))
    flutter = rhythm_episodes(record.annotations, record.fs, seconds, FLUTTER)
    return {
        "counts": compared.counts.tolist(),
        "hours": seconds / 3600,
        "noise": events[-1].facts["seconds_of_noise"],
        "latest": events[-1].facts["latest_answer"],
        "alarms": {
            name: vars(compare_episodes(truth.get(name, []), found.get(name, []), TOLERANCE))
            for name in ALARMS
            if name != "cannot monitor"
        },
        "fibrillation": vars(
            compare_episodes(fibrillation, without(detected_rhythm(events, seconds), flutter))
        ),
    }


def reference_alarms(record: Record, seconds: float) -> Episodes:
    """What the alarms' own rules do with the annotated beats and rhythm."""
    assert record.annotations is not None
    peaks, symbols = annotated_beats(record.annotations)
    beats = [
        (p / record.fs, AAMI[s]) for p, s in zip(peaks.tolist(), symbols.tolist(), strict=True)
    ]
    fibrillation = rhythm_episodes(record.annotations, record.fs, seconds, (FIBRILLATION,))
    watch, last, found, began = AlarmWatch(), beats[0][0], defaultdict(list), {}
    for now in np.arange(0, seconds, BLOCK_SECONDS).tolist():
        while beats and beats[0][0] <= now:
            last, name = beats.pop(0)
            watch.beat(last, name == "V")
        moment = Moment(
            now=now,
            last_beat=max(last, 0.0),
            flat=False,
            fibrillation=any(a <= now <= b for a, b in fibrillation),
            noise="",
        )
        for happened, alarm, _ in watch.moment(moment):
            _note(began, found, alarm.rule.name, happened, now)
    for name, start in began.items():
        found[name].append((start, seconds))
    return dict(found)


def episodes_of(events: Iterable[Event], seconds: float) -> Episodes:
    """From when to when each alarm was raised."""
    found: Episodes = defaultdict(list)
    began: dict[str, float] = {}
    for event in events:
        if "alarm" in event.facts:
            _note(began, found, event.facts["alarm"], event.kind, event.time)
    for name, start in began.items():
        found[name].append((start, seconds))
    return dict(found)


def _note(began: dict[str, float], found: Episodes, name: str, kind: str, now: float) -> None:
    if kind == "alarm raised":
        began[name] = now
    elif name in began:
        found[name].append((began.pop(name), now))


def rhythm_episodes(
    notes: Annotations, fs: float, seconds: float, rhythms: Sequence[str]
) -> list[tuple[float, float]]:
    """From when to when one of these rhythms is annotated."""
    marks = [
        (sample / fs, rhythm)
        for sample, rhythm in zip(notes.samples.tolist(), notes.rhythms, strict=True)
        if rhythm.startswith("(")
    ]
    ends = [*(time for time, _ in marks[1:]), seconds]
    return [
        (time, end) for (time, rhythm), end in zip(marks, ends, strict=True) if rhythm in rhythms
    ]


def detected_rhythm(events: Iterable[Event], seconds: float) -> list[tuple[float, float]]:
    """From when to when the monitor found fibrillation."""
    found, began = [], None
    for event in events:
        if event.kind != "rhythm":
            continue
        if event.facts["rhythm"] == "AF":
            began = event.time
        elif began is not None:
            found.append((began, event.time))
            began = None
    return found if began is None else [*found, (began, seconds)]


def without(
    episodes: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]
) -> list[tuple[float, float]]:
    """The parts of the episodes that are in none of the others."""
    parts = list(episodes)
    for start, end in others:
        cut = [((a, min(b, start)), (max(a, end), b)) for a, b in parts]
        parts = [part for pair in cut for part in pair if part[0] < part[1]]
    return parts


def tables(results: dict[str, dict[str, Any]]) -> str:
    """The tables of all recordings."""
    counts = np.array([one["counts"] for one in results.values()])
    hours = sum(one["hours"] for one in results.values())
    gross = ec57.table(counts.sum(axis=0), excuse=True)
    middle = ec57.intervals([counts], 0, excuse=True)
    qrs = ec57.detection(counts.sum(axis=0))
    lines = [
        f"{len(results)} patients of DS2, {hours:.1f} hours. Beats, found by the monitor's own "
        "detector, as bxb counts them (95% intervals over patients):",
        "",
        "| | beats | Se, % | +P, % |",
        "| --- | --- | --- | --- |",
        f"| any beat | {counts[:, :-1].sum():,} | {_percent(qrs['se'])} | {_percent(qrs['ppv'])} |",
    ]
    for name in ("V", "S"):
        row, spread = gross["classes"][name], middle["classes"][name]
        patients = int((counts[:, BEAT_CLASSES.index(name)].sum(axis=1) > 0).sum())
        lines.append(
            f"| {name}, in {patients} patients | {row['beats']:,.0f} "
            f"| {_percent(row['se'], spread['se'])} | {_percent(row['ppv'], spread['ppv'])} |"
        )
    lines += [
        "",
        "| alarm | patients who should have one | of them found, all episodes | episodes found | "
        "alarms | of them false | false per hour |",
        "| --- " * 7 + "|",
    ]
    for name in next(iter(results.values()))["alarms"]:
        lines.append(_alarm_row(name, list(results.values()), hours))
    whole = _sum(one["fibrillation"] for one in results.values())
    patients = sum(one["fibrillation"]["reference"] > 0 for one in results.values())
    detected = sum(one["fibrillation"]["detected"] > 0 for one in results.values())
    figures = {name: _percent(value) for name, value in whole.figures().items()}
    noise = sum(one["noise"] for one in results.values()) / 3600 / hours
    return "\n".join(
        [
            *lines,
            "",
            f"Atrial fibrillation by episode (EC57): {whole.reference} episodes in {patients} "
            f"patients, too few for intervals; {whole.detected} detected in {detected}. Episode Se "
            f"{figures['episode se']}%, +P {figures['episode ppv']}%; duration Se "
            f"{figures['duration se']}%, +P {figures['duration ppv']}%. Annotated flutter is "
            "neither right nor wrong.",
            "",
            f"The monitor could not monitor {noise:.1%} of the time. The latest answer to a beat "
            f"came {max(one['latest'] for one in results.values()):.2f} s after its R peak.",
        ]
    )


def _alarm_row(name: str, results: Sequence[dict[str, Any]], hours: float) -> str:
    each = [EpisodeCounts(**one["alarms"][name]) for one in results]
    whole = _sum(map(vars, each))
    having = [one for one in each if one.reference]
    false = np.array([one.detected - one.right for one in each], dtype=np.float64)
    rate = f"{false.sum() / hours:.2f}"
    if len(each) >= MIN_INTERVAL_PATIENTS and false.sum():
        rng = stream(0, "bootstrap", "monitor", name)
        drawn = false[rng.integers(0, len(each), (DRAWS, len(each)))].sum(axis=1) / hours
        low, high = np.percentile(drawn, [2.5, 97.5])
        rate += f" [{low:.2f}, {high:.2f}]"
    return (
        f"| {name} | {len(having)} | {sum(one.found == one.reference for one in having)} "
        f"| {whole.found} of {whole.reference} | {whole.detected} | {false.sum():.0f} | {rate} |"
    )


def _sum(each: Iterable[dict[str, Any]]) -> EpisodeCounts:
    return sum((EpisodeCounts(**one) for one in each), start=EpisodeCounts())


def _percent(value: float | None, spread: tuple[float, float] | None = None) -> str:
    if value is None:
        return "n/a"
    text = f"{100 * value:.1f}"
    return text if spread is None else f"{text} [{100 * spread[0]:.1f}, {100 * spread[1]:.1f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every recording, print the tables and write them to the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ECG_DATA") or "data"))
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=Path("docs/results-monitor.json"))
    parser.add_argument("--results", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args(arguments)
    one_thread()
    stamp = {
        "settings": file_digest(options.weights),
        "machine": machine_description("cpu"),
        "command": command("studies.monitor"),
    }
    stored = StoredResults(options.json, stamp)
    stored.expect(DS2)
    results = {}
    for name in DS2:
        record = DATASETS["mitdb"].read(options.data_dir, name)
        results[name] = stored.get_or_make(name, lambda r=record: measure(r, options.weights))
    text = tables(results)
    print(text)
    made = f"Made by `{command('studies.monitor')}` on {machine_description('cpu')}."
    put_between_marks(options.results, "monitor", f"{text}\n\n{made}")


if __name__ == "__main__":
    main()
