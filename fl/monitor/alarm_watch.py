"""The causes of the alarms, from the beats and the signal, and what happens to each alarm."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

from fl.monitor.alarms import (
    ALARMS,
    BRADYCARDIA_BEATS,
    TACHYCARDIA_BEATS,
    VENTRICULAR_BEATS,
    Alarm,
    AlarmRule,
)

ENDS_RUN = 3.0  # s without a beat


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is known of the signal at a moment."""

    now: float  # s; every beat before it has been found
    last_beat: float  # s; where none was found yet, when the search began
    flat: bool  # the lead has stayed at one value for a while
    fibrillation: bool
    noise: str  # why the signal cannot be monitored; "" if it can


@dataclass(kw_only=True)
class AlarmWatch:
    """Beats and moments in, what happens to the alarms out."""

    alarms: dict[str, Alarm] = field(
        default_factory=lambda: {name: Alarm(rule=rule) for name, rule in ALARMS.items()}
    )
    _beats: deque[float] = field(default_factory=lambda: deque(maxlen=TACHYCARDIA_BEATS))
    _run: deque[float] = field(default_factory=lambda: deque(maxlen=VENTRICULAR_BEATS))
    _fast_run: bool = False  # the run of V has been fast enough

    @classmethod
    def with_limits(cls, **limits: float) -> "AlarmWatch":
        """Other limits for some alarms, by name with underscores for blanks."""
        rules = {
            name: replace(rule, limit=limits.get(name.replace(" ", "_"), rule.limit))
            for name, rule in ALARMS.items()
        }
        return cls(alarms={name: Alarm(rule=rule) for name, rule in rules.items()})

    def beat(self, seconds: float, ventricular: bool) -> None:
        """A heartbeat at `seconds`, in order of time."""
        self._beats.append(seconds)
        if not ventricular:
            self._run.clear()
            self._fast_run = False
            return
        self._run.append(seconds)
        limit = self._rule("ventricular tachycardia").limit
        if len(self._run) == VENTRICULAR_BEATS and _rate(list(self._run)) >= limit:
            self._fast_run = True

    def moment(self, moment: Moment) -> Iterator[tuple[str, Alarm, str]]:
        """What happens now: a kind of `Alarm.update`, the alarm, and the detail."""
        causes = self._causes(moment)
        for name, alarm in self.alarms.items():
            happened = alarm.update(moment.now, causes[name], noisy=bool(moment.noise))
            if happened:
                raised = happened == "alarm raised"
                yield happened, alarm, self._detail(name, moment) if raised else ""

    def acknowledge(self, name: str) -> Iterator[tuple[str, Alarm, str]]:
        """Somebody has seen this alarm, or all where `name` is ""."""
        for alarm in self.alarms.values() if not name else [self.alarms[name]]:
            if happened := alarm.acknowledge():
                yield happened, alarm, "acknowledged"

    def _rule(self, name: str) -> AlarmRule:
        return self.alarms[name].rule

    def _causes(self, moment: Moment) -> dict[str, bool]:
        quiet = moment.now - moment.last_beat
        if quiet > ENDS_RUN:
            self._run.clear()
            self._fast_run = False
        beats = list(self._beats)
        slow, fast = beats[-BRADYCARDIA_BEATS:], beats[-TACHYCARDIA_BEATS:]
        return {
            "asystole": quiet >= self._rule("asystole").limit,
            "ventricular tachycardia": self._fast_run,
            "pause": quiet > self._rule("pause").limit and not moment.flat,
            # Every interval is long: one pause among usual beats is no bradycardia.
            "bradycardia": len(slow) == BRADYCARDIA_BEATS
            and all(_rate(list(pair)) < self._rule("bradycardia").limit for pair in pairwise(slow)),
            "tachycardia": len(fast) == TACHYCARDIA_BEATS
            and _rate(fast) > self._rule("tachycardia").limit,
            "atrial fibrillation": moment.fibrillation,
            "cannot monitor": bool(moment.noise),
        }

    def _detail(self, name: str, moment: Moment) -> str:
        if name == "asystole":
            return "lead off: the signal is flat" if moment.flat else "no heartbeat"
        return moment.noise if name == "cannot monitor" else ""


def _rate(beats: list[float]) -> float:
    """Heartbeats per minute from their times (s)."""
    return 60 * (len(beats) - 1) / max(beats[-1] - beats[0], 1e-3)
