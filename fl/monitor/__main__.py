"""`python -m fl.monitor [--weights W] RECORD|-`: heartbeats, rhythm and alarms as they happen.

RECORD is a recording as `python -m fl.predict` reads it, which is replayed; `-` reads lines of
samples (a header `time,I,II,...`, then one line per sample) from standard input, and --listen from
a TCP port. Each event is one line of JSON on standard output; notes are on standard error. Nothing
later than an event is used for it: docs/monitor.md has the rules, the delays and the limits.
Research software, not a medical device: no alarm may be relied on.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from fl.datasets.readers.exports.csv_tables.flags import add_table_flags
from fl.ecg.records import NO_UNIT
from fl.evaluation.decisions.thresholds import POOLED_SOURCE
from fl.monitor.alarm_watch import AlarmWatch
from fl.monitor.alarms import ALARMS
from fl.monitor.beat_classifier import BeatClassifier, load_beat_model
from fl.monitor.events import Event
from fl.monitor.rhythm_windows import RhythmWindows, load_rhythm_model
from fl.monitor.sample_lines import SampleLines
from fl.monitor.sources import (
    NO_DATA,
    Listener,
    Samples,
    address,
    read_lines,
    received,
    replay,
)
from fl.monitor.stream import CLASS_LEAD, Monitor
from fl.predict.input_files import read_record
from fl.predict.output_file import Output
from fl.predict.recording_flags import DISCLAIMER
from fl.predict.saved_model import SavedModel
from fl.reports.terminal.notices import NOTICE, simulated_note
from fl.training.device import one_thread
from fl.util.command_line import CommandParser
from fl.util.errors import ConfigError, exit_code

MakeMonitor = Callable[[Sequence[str], float], Monitor]
LIMITS = ("asystole", "pause", "bradycardia", "tachycardia", "ventricular tachycardia")


def main(arguments: Sequence[str] | None = None, prog: str = "python -m fl.monitor") -> int:
    """Exit code: 0 done, 2 a user's mistake or nothing to monitor, 1 stopped."""
    options = _parser(prog).parse_args(arguments)
    return exit_code(prog, lambda: _monitor(options, prog), "interrupted")


def _monitor(options: argparse.Namespace, prog: str) -> int:
    if (options.record is None) == (options.listen is None):
        raise ConfigError("name one recording, or `-`, or --listen HOST:PORT")
    one_thread()
    make = _maker(options)
    print(DISCLAIMER, file=sys.stderr)
    stop = _Stop()
    output = Output(None)
    try:
        with stop:
            if options.listen is not None:
                return _from_network(options, make, stop, output)
            if options.record == "-":
                return _from_input(options, make, stop, output)
            return _from_recording(options, make, stop, output)
    except BrokenPipeError:
        return output.closed_by_reader()


class _Stop:
    """Whether Ctrl-C or SIGTERM came. They end the monitor between two blocks of samples."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    def __enter__(self) -> None:
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def _maker(options: argparse.Namespace) -> MakeMonitor:
    """Makes the monitor once leads and sampling rate are known; the models are loaded here."""
    beats = rhythm = None
    if options.weights is not None:
        beats = load_beat_model(options.weights, options.source)
    else:
        print(
            "note: without --weights heartbeats have no class, and there is no alarm for "
            "ventricular tachycardia",
            file=sys.stderr,
        )
    if options.rhythm_weights is not None:
        rhythm = load_rhythm_model(options.rhythm_weights)
    for model in filter(None, (beats, rhythm)):
        if model.synthetic:
            print(f"The model was trained on synthetic recordings. {NOTICE}", file=sys.stderr)
        if model.simulated_rare:
            print(simulated_note(model.simulated_rare), file=sys.stderr)
    limits = {
        name.replace(" ", "_"): value
        for name in LIMITS
        if (value := getattr(options, name.replace(" ", "_"))) is not None
    }
    return partial(_made, beats, rhythm, options.source, limits)


def _made(
    beats: SavedModel | None,
    rhythm: SavedModel | None,
    source: str,
    limits: dict[str, float],
    leads: Sequence[str],
    fs: float,
) -> Monitor:
    monitor = Monitor(
        leads,
        fs,
        BeatClassifier(beats, source) if beats else None,
        RhythmWindows(rhythm, leads, fs) if rhythm else None,
        AlarmWatch.with_limits(**limits),
    )
    print(f"note: {', '.join(leads)} at {fs:g} Hz; beats in lead {monitor.lead}", file=sys.stderr)
    if beats and monitor.lead != CLASS_LEAD:
        print(f"note: without lead {CLASS_LEAD} heartbeats have no class", file=sys.stderr)
    return monitor


def _from_recording(
    options: argparse.Namespace, make: MakeMonitor, stop: _Stop, output: Output
) -> int:
    record = read_record(
        options.record, options.fs, options.unit, options.leads, options.ignore_checksums
    )
    for note in record.notes:
        print(f"note: {note}", file=sys.stderr)
    monitor = make(record.leads, record.fs)
    samples = replay(record, options.speed, stop)
    _write(monitor, (monitor.push(block) for block in samples), output)
    return _end(monitor, stop, output)


def _from_input(options: argparse.Namespace, make: MakeMonitor, stop: _Stop, output: Output) -> int:
    lines = _lines(options)
    samples = read_lines(lines, sys.stdin, partial(os.read, sys.stdin.fileno()), stop)
    return _from_lines(lines, samples, make, stop, output)


def _from_network(
    options: argparse.Namespace, make: MakeMonitor, stop: _Stop, output: Output
) -> int:
    listener = Listener(*address(options.listen))
    print(f"listening at {listener.host}:{listener.port}", file=sys.stderr, flush=True)
    if listener.beyond_loopback:
        print(
            "warning: other machines reach this port, and anybody there can send samples; nothing "
            "is encrypted",
            file=sys.stderr,
        )
    try:
        while (connection := listener.sender(stop)) is not None:
            with connection:
                lines = _lines(options)
                reports = _Silence(output)
                samples = read_lines(lines, connection, received(connection), stop, reports)
                code = _from_lines(lines, samples, partial(reports.watching, make), stop, output)
            if lines.ready or stop():
                return code
            print("note: waiting for another sender", file=sys.stderr, flush=True)
    finally:
        listener.close()
    return 1


class _Silence:
    """Reports when a sender is silent: no sample shows that."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._monitor: Monitor | None = None

    def watching(self, make: MakeMonitor, leads: Sequence[str], fs: float) -> Monitor:
        """Make the monitor of the sender's samples."""
        self._monitor = make(leads, fs)
        return self._monitor

    def __call__(self, silent: bool) -> None:
        if self._monitor is not None:
            read, fs = self._monitor.read, self._monitor.fs
            kind = "cannot monitor" if silent else "can monitor"
            facts = {"why": f"no data for {NO_DATA:g} s"} if silent else {}
            event = Event(kind=kind, sample=read, known=read, fs=fs, facts=facts)
            self._output.write(event.line)


def _lines(options: argparse.Namespace) -> SampleLines:
    if options.unit == NO_UNIT:
        raise ConfigError("--unit NU: a monitor needs mV. Accepted here: mV, uV, V.")
    return SampleLines(fs=options.fs, unit=options.unit, names=options.leads)


def _from_lines(
    lines: SampleLines, samples: Iterable[Samples], make: MakeMonitor, stop: _Stop, output: Output
) -> int:
    monitor: Monitor | None = None
    for block in samples:
        if monitor is None:
            assert lines.fs is not None
            monitor = make(lines.leads, lines.fs)
        _write(monitor, [monitor.push(block)], output)
    for note in _remarks(lines):
        print(f"note: {note}", file=sys.stderr)
    if monitor is None:
        print(
            "error: no samples came. Send a header such as time,I,II, and a line per sample.",
            file=sys.stderr,
        )
        return 2
    return _end(monitor, stop, output, unread_lines=lines.unread)


def _remarks(lines: SampleLines) -> Iterator[str]:
    if lines.unread:
        yield f"{lines.unread:,} of {lines.lines:,} lines were not read; {lines.first_unread}"
    if lines.not_leads:
        yield f"{lines.not_leads} columns are neither a lead nor the time"
    if lines.jumps:
        yield f"the time jumped {lines.jumps} times"


def _write(monitor: Monitor, found: Iterable[list[Event]], output: Output) -> None:
    for events in found:
        if events:
            output.write("".join(event.line for event in events))


def _end(monitor: Monitor, stop: _Stop, output: Output, **facts: object) -> int:
    """The last events and the summary."""
    *events, end = monitor.finish()
    end = Event(
        kind=end.kind,
        sample=end.sample,
        known=end.known,
        fs=end.fs,
        facts={**end.facts, **facts, "interrupted": stop()},
    )
    _write(monitor, [[*events, end]], output)
    return 1 if stop() else 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("record", nargs="?", help="a recording, or - for lines of samples")
    parser.add_argument(
        "--weights", type=Path, metavar="W", help="model of the task beat-causal: classes of beats"
    )
    parser.add_argument(
        "--rhythm-weights",
        type=Path,
        metavar="W",
        help="rhythm model, which answers every ten seconds [fibrillation by the RR intervals]",
    )
    parser.add_argument(
        "--source",
        default=POOLED_SOURCE,
        help="use the beat model's calibration and thresholds of this source [%(default)s]",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="max|1|10",
        help="replay so many times as fast as it was recorded [1]",
    )
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help="read lines of samples at this TCP port; of this machine alone, unless HOST is named",
    )
    for name in LIMITS:
        parser.add_argument(
            f"--{name.replace(' ', '-')}",
            type=_limit,
            metavar="N",
            help=f"alarm: {ALARMS[name].sentence.format(limit=ALARMS[name].limit)}",
        )
    add_table_flags(parser)
    parser.add_argument(
        "--ignore-checksums",
        action="store_true",
        help="read recordings whose signal differs from the checksum in its file",
    )
    return parser


def _speed(text: str) -> float:
    """0 for `max`."""
    value = 0.0 if text == "max" else float(text)
    if not (text == "max" or 0.01 <= value <= 10_000):
        raise argparse.ArgumentTypeError(f"{text} is no speed. Accepted: max, or 0.01 to 10000")
    return value


def _limit(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 500:
        raise argparse.ArgumentTypeError(f"{text} is no limit. Accepted: 1 to 500")
    return value


if __name__ == "__main__":
    sys.exit(main())
