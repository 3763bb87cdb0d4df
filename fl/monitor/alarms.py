"""The alarms: when each is raised, how long it must last, and when it is over.

A latching alarm stays until somebody acknowledges it, even when its cause is over, because nobody
may have looked. The others are cleared by themselves.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AlarmRule:
    """The rule of one alarm. `docs/monitor.md` prints them."""

    name: str
    priority: str  # high, medium, low
    sentence: str  # of the cause, for people
    limit: float  # what the cause is compared with; its unit is in the sentence
    minimum: float  # s for which the cause must last
    clears_after: float  # s without the cause
    latching: bool
    in_noise: bool  # whether it is raised while the signal cannot be monitored
    source: str


CHALLENGE_2015 = "Clifford et al. 2015, 10.1109/CIC.2015.7408639"
ALARMS = {
    rule.name: rule
    for rule in (
        AlarmRule(
            name="asystole",
            priority="high",
            sentence="no heartbeat for {limit:g} s, or a lead is off (its signal is flat)",
            limit=4.0,
            minimum=0.0,
            clears_after=3.0,
            latching=True,
            in_noise=True,
            source=CHALLENGE_2015,
        ),
        AlarmRule(
            name="ventricular tachycardia",
            priority="high",
            sentence="three or more V in a row at {limit:g} per minute or more",
            limit=100.0,
            minimum=0.0,
            clears_after=5.0,
            latching=True,
            in_noise=True,
            source="AAMI EC57's run of ventricular beats; the usual limit of 100 per minute",
        ),
        AlarmRule(
            name="pause",
            priority="medium",
            sentence="more than {limit:g} s between two heartbeats",
            limit=3.0,
            minimum=0.0,
            clears_after=10.0,
            latching=False,
            in_noise=False,
            source="Kusumoto et al. 2018, 10.1161/CIR.0000000000000628",
        ),
        AlarmRule(
            name="bradycardia",
            priority="medium",
            sentence="five heartbeats, each after the other at less than {limit:g} per minute",
            limit=40.0,
            minimum=0.0,
            clears_after=10.0,
            latching=False,
            in_noise=False,
            source=CHALLENGE_2015,
        ),
        AlarmRule(
            name="tachycardia",
            priority="medium",
            sentence="seventeen heartbeats at more than {limit:g} per minute on average",
            limit=140.0,
            minimum=0.0,
            clears_after=10.0,
            latching=False,
            in_noise=False,
            source=CHALLENGE_2015,
        ),
        AlarmRule(
            name="atrial fibrillation",
            priority="medium",
            sentence="atrial fibrillation for {limit:g} s",
            limit=30.0,
            minimum=30.0,
            clears_after=30.0,
            latching=False,
            in_noise=False,
            source="Hindricks et al. 2021, 10.1093/eurheartj/ehaa612 (30 s)",
        ),
        AlarmRule(
            name="cannot monitor",
            priority="low",
            sentence="for {limit:g} s noise has covered the heartbeats",
            limit=10.0,
            minimum=0.0,
            clears_after=0.0,
            latching=False,
            in_noise=True,
            source="docs/cannot_say.md",
        ),
    )
}
BRADYCARDIA_BEATS, TACHYCARDIA_BEATS, VENTRICULAR_BEATS = 5, 17, 3


@dataclass(kw_only=True)
class Alarm:
    """One alarm: whether it is raised, and whether its cause is still there."""

    rule: AlarmRule
    raised: bool = False
    over: bool = False  # raised, and its cause is over: a latching alarm that waits
    acknowledged: bool = False  # since it was raised
    _since: float | None = None  # s: the cause is there since then
    _without: float | None = None  # s: the cause is gone since then

    @property
    def since(self) -> float | None:
        """When the cause began (s); None if it is not there."""
        return self._since

    def update(self, now: float, cause: bool, noisy: bool = False) -> str:
        """What happens at `now` (s): "alarm raised", "alarm over", "alarm cleared", or "".

        `noisy`: the signal cannot be monitored. An alarm that is not raised in noise then stays
        as it is.
        """
        if noisy and not self.rule.in_noise:
            self._since = None
            return ""
        if cause:
            return self._with_cause(now)
        self._since = None
        if not self.raised or self.over:
            return ""
        if self._without is None:
            self._without = now
        if now - self._without < self.rule.clears_after:
            return ""
        if self.rule.latching and not self.acknowledged:
            self.over = True
            return "alarm over"
        self.raised = False
        return "alarm cleared"

    def _with_cause(self, now: float) -> str:
        self._without = None
        if self._since is None:
            self._since = now
        if (self.raised and not self.over) or now - self._since < self.rule.minimum:
            return ""
        self.raised, self.over, self.acknowledged = True, False, False
        return "alarm raised"

    def acknowledge(self) -> str:
        """Somebody has seen it: "alarm cleared" if its cause is over, else it clears then."""
        self.acknowledged = self.raised
        if not self.over:
            return ""
        self.raised = self.over = False
        return "alarm cleared"
