"""A monitor: samples in, events out, in the order of time and from the past alone.

Samples are taken in blocks of BLOCK_SECONDS, however they arrive, so that the same samples give
the same events. What a block shows is reported at its end. A heartbeat is reported once the 0.44 s
after its R peak are there, without their baseline: about a second after the peak, and at most
LATEST after it.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fl.ecg.beat_segments import BEAT_AFTER, BEAT_BEFORE, BEAT_FS
from fl.ecg.quality import FLAT_SECONDS
from fl.ecg.records import LEADS
from fl.monitor.alarm_watch import AlarmWatch, Moment
from fl.monitor.alarms import Alarm
from fl.monitor.beat_classifier import BeatClassifier
from fl.monitor.events import DECIMALS, Event
from fl.monitor.fibrillation import Fibrillation
from fl.monitor.lead_filter import LeadFilter
from fl.monitor.qrs_detector import LEARNING, QrsDetector
from fl.monitor.rhythm_windows import RhythmWindows
from fl.monitor.signal_watch import Filled, FlatRun, SignalQuality

BLOCK_SECONDS = 0.2
LATEST = 1.5  # s from an R peak to the samples after which it is reported
RATE_INTERVALS = 8  # of the heart rate that is shown
KEPT = round(3 * BEAT_FS)  # samples of the lead out of which beats are cut
CLASS_LEAD = "II"  # the lead that the beat task reads


class Monitor:
    """One recording or stream. `push` samples, and `finish` at its end."""

    def __init__(
        self,
        leads: Sequence[str],
        fs: float,
        classifier: BeatClassifier | None = None,
        rhythm: RhythmWindows | None = None,
        alarms: AlarmWatch | None = None,
    ) -> None:
        """`leads` (lead,) are names of LEADS, `fs` is in Hz.

        Beats are found in lead II, or in the first lead of LEADS where it is missing; they then
        have no class. Without `classifier` they have none either. `rhythm` answers every ten
        seconds; without it, fibrillation is found by the RR intervals.
        """
        self.fs, self.leads = fs, tuple(leads)
        self.lead = CLASS_LEAD if CLASS_LEAD in leads else min(leads, key=LEADS.index)
        self._place = self.leads.index(self.lead)
        self._classifier = classifier if self.lead == CLASS_LEAD else None
        self._rhythm, self._alarms = rhythm, alarms or AlarmWatch()
        self._block = max(1, round(BLOCK_SECONDS * fs))
        self._pending: list[NDArray[np.float32]] = []
        self._filled, self._flat = Filled(len(leads)), FlatRun()
        self._quality = SignalQuality(self.lead, fs)
        self._filter, self._detector = LeadFilter(fs, BEAT_FS), QrsDetector()
        self._fibrillation = Fibrillation()
        self._lead = np.zeros(KEPT, dtype=np.float32)  # the last KEPT samples at BEAT_FS
        self._waiting: deque[int] = deque()  # R peaks that are not reported yet, at BEAT_FS
        self._intervals: deque[float] = deque(maxlen=RATE_INTERVALS)
        self._previous: float | None = None  # s, the last reported beat
        self._ventricular = False  # it was V
        self.read = 0  # samples in whole blocks
        self._beats, self._raised = Counter[str](), Counter[str]()
        self._latest, self._noisy_blocks = 0.0, 0

    @property
    def delay(self) -> float:
        """Seconds by which the lead without its baseline is behind the input."""
        return self._filter.delay

    @property
    def alarms(self) -> dict[str, Alarm]:
        """The alarms by name."""
        return self._alarms.alarms

    def push(self, samples: NDArray[np.float32]) -> list[Event]:
        """The events that the new samples show: (lead, sample) mV, nan where one is missing."""
        self._pending.append(samples)
        waiting = sum(part.shape[1] for part in self._pending)
        if waiting < self._block:
            return []
        joined = np.concatenate(self._pending, axis=1)
        whole = waiting // self._block * self._block
        self._pending = [joined[:, whole:].copy()]
        events: list[Event] = []
        for start in range(0, whole, self._block):
            events += self._take(joined[:, start : start + self._block])
        return events

    def finish(self) -> list[Event]:
        """The last events, and the summary. Nothing may be pushed afterwards."""
        rest = [part for part in self._pending if part.size]
        events = list(self._take(np.concatenate(rest, axis=1))) if rest else []
        events += self._heartbeats(self._filter.finish(), end=True)
        return [*events, self._event("end", self.read, **self._summary())]

    def acknowledge(self, name: str = "") -> list[Event]:
        """Somebody has seen the alarm of this name, or all of them."""
        return [self._alarm_event(*found) for found in self._alarms.acknowledge(name)]

    def _take(self, block: NDArray[np.float32]) -> Iterator[Event]:
        filled = self._filled.push(block)
        lead = filled[self._place]
        self.read += block.shape[1]
        self._flat.push(lead)
        self._quality.push(lead)
        self._noisy_blocks += bool(self._quality.reason)
        yield from self._heartbeats(self._filter.push(lead))
        if self._rhythm is not None:
            for window in self._rhythm.push(filled):
                yield self._event("rhythm", window.start, **window.facts)
        yield from self._moment()

    def _heartbeats(self, clean: NDArray[np.float32], end: bool = False) -> Iterator[Event]:
        self._waiting.extend(self._detector.push(clean))
        self._lead = np.concatenate([self._lead, clean])[-KEPT:]
        while self._waiting and (end or self._waiting[0] + BEAT_AFTER < self._detector.read):
            yield from self._heartbeat(self._waiting.popleft())

    def _heartbeat(self, peak: int) -> Iterator[Event]:
        """Report the beat whose R peak is this sample at BEAT_FS."""
        sample = min(round(peak * self.fs / BEAT_FS), self.read - 1)
        seconds = sample / self.fs
        answer = None
        if self._classifier is not None:
            centre = round(sample * BEAT_FS / self.fs) - self._detector.read + KEPT
            places = np.arange(centre - BEAT_BEFORE, centre + BEAT_AFTER).clip(0, KEPT - 1)
            answer = self._classifier.push(self._lead[places], seconds)
        predicted = answer.predicted if answer else None
        facts: dict[str, object] = {"class": predicted}
        if answer:
            facts["p"] = answer.p
        interval = None if self._previous is None else seconds - self._previous
        self._previous = seconds
        if interval is not None:
            self._intervals.append(interval)
            rate = 60 * len(self._intervals) / max(sum(self._intervals), 1e-3)
            facts |= {"rr": round(interval, DECIMALS), "rate": round(rate, 1)}
        if self._quality.reason:
            facts["noise"] = self._quality.sentence
        self._beats[predicted or "no class"] += 1
        self._latest = max(self._latest, self.read / self.fs - seconds)
        self._alarms.beat(seconds, predicted == "V")
        yield self._event("beat", sample, **facts)
        ventricular, self._ventricular = self._ventricular, predicted == "V"
        if self._rhythm is None and interval is not None:
            if ventricular or self._ventricular:
                return
            before = self._fibrillation.present
            if (present := self._fibrillation.push(interval)) != before:
                yield self._event("rhythm", sample, rhythm="AF" if present else "not AF")

    def _moment(self) -> Iterator[Event]:
        searched = LEARNING / BEAT_FS
        last = self._detector.last
        rhythm = self._fibrillation if self._rhythm is None else self._rhythm
        moment = Moment(
            now=self._detector.final / BEAT_FS,
            last_beat=searched if last is None else max(searched, last / BEAT_FS),
            flat=self._flat.samples >= FLAT_SECONDS * self.fs,
            fibrillation=rhythm.present,
            noise=self._quality.sentence,
        )
        for found in self._alarms.moment(moment):
            yield self._alarm_event(*found)

    def _alarm_event(self, happened: str, alarm: Alarm, detail: str) -> Event:
        rule = alarm.rule
        sample = round(self._detector.final / BEAT_FS * self.fs)
        if rule.name == "cannot monitor":
            raised = happened == "alarm raised"
            self._raised[rule.name] += raised
            kind = rule.name if raised else "can monitor"
            return self._event(kind, sample, **({"why": detail} if raised else {}))
        facts: dict[str, object] = {"alarm": rule.name, "priority": rule.priority}
        if happened == "alarm raised":
            self._raised[rule.name] += 1
            facts |= {"cause": rule.sentence.format(limit=rule.limit), "latching": rule.latching}
            if alarm.since is not None:
                facts["since"] = round(alarm.since, DECIMALS)
        if detail:
            facts["detail"] = detail
        return self._event(happened, sample, **facts)

    def _summary(self) -> dict[str, object]:
        return {
            "seconds": round(self.read / self.fs, DECIMALS),
            "beats": dict(sorted(self._beats.items())),
            "alarms": dict(sorted(self._raised.items())),
            "not_cleared": [name for name, alarm in self.alarms.items() if alarm.raised],
            "missing_samples": self._filled.missing,
            "seconds_of_noise": round(self._noisy_blocks * self._block / self.fs, 1),
            "latest_answer": round(self._latest, DECIMALS),
        }

    def _event(self, kind: str, sample: int, **facts: object) -> Event:
        return Event(kind=kind, sample=sample, known=self.read, fs=self.fs, facts=facts)
