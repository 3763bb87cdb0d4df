"""The summary of a Holter recording as tables to read."""

from collections.abc import Sequence

from fl.predict.holter_summary import ECTOPIC, PAUSE, Ectopy, HolterSummary, Period

RHYTHM = (
    "from",
    "to",
    "beats",
    "rate (lowest-highest)",
    f"pauses >= {PAUSE:g} s",
    "longest RR",
    "cannot say",
    "beats not answered",
)
ROWS = ("from", "to", "beats", "single", "couplets", "runs", "longest run", "bigeminy")


def summary_lines(record: str, found_by: str, summary: HolterSummary) -> list[str]:
    """A table of the heart rate and of what cannot be said, then one each for S and V beats.

    A line is an hour; of more than one, the last line is the whole recording. `found_by` says how
    the beats were found.
    """
    periods = list(summary.hours)
    times = [(hour.start, hour.end) for hour in periods]
    if len(periods) > 1:
        periods.append(summary.total)
        times.append(("in all", summary.total.end))
    lines = [f"{record}: beats found by {found_by}; times from the start, h:mm:ss"]
    lines += _table(RHYTHM, [[*t, *_rhythm(p)] for t, p in zip(times, periods, strict=True)])
    for name in ECTOPIC:
        cells = [
            [*t, *_ectopy(p.ectopy[name], p.beats)] for t, p in zip(times, periods, strict=True)
        ]
        lines += [f"{record}: {name} beats", *_table(ROWS, cells)]
    return lines


def _rhythm(period: Period) -> list[str]:
    rate, longest = "-", "-"
    if period.mean_rate is not None:
        rate = f"{period.mean_rate:.0f}"
    if period.lowest_rate is not None and period.highest_rate is not None:
        rate += f" ({period.lowest_rate:.0f}-{period.highest_rate:.0f})"
    if period.longest_interval is not None:
        longest = f"{period.longest_interval.seconds:.2f} s at {period.longest_interval.at}"
    share = f"{100 * period.cannot_say:.1f}%"
    return [
        str(period.beats),
        rate,
        str(period.pauses),
        longest,
        share,
        str(period.beats_not_answered),
    ]


def _ectopy(found: Ectopy, beats: int) -> list[str]:
    run = found.longest_run
    longest = f"{run.beats} beats, {run.rate:.0f}/min at {run.at}" if run else "-"
    share = f"{found.beats} ({100 * found.beats / beats:.1f}%)" if beats else "0"
    numbers = [found.single, found.couplets, found.runs]
    return [share, *map(str, numbers), longest, str(found.bigeminy)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns set flush right."""
    lines = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{c:>{w}}" for c, w in zip(line, widths, strict=True)) for line in lines]
