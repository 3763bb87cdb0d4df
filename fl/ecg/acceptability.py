"""Whether a signal can be read as an ECG at all, and if not, why: asked before any answer.

`docs/cannot_say.md` has what the limits refuse of real recordings and of noise. They were chosen
on the recordings of every source but PTB-XL.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from fl.ecg.beat_likeness import BeatLikeness, beat_likeness, beat_likeness_of_several
from fl.ecg.filters import Signal
from fl.ecg.quality import has_signal

LIKENESS = 0.65  # at most 0.53 in white, pink, brown and muscle noise; 99% of recordings above 0.73
PROMINENCE = 4.0  # at most 3.4 in white, pink and brown noise
# Beats of 200 per minute fill half of the time and stand out less, but nearly equal each other.
EQUAL_LIKENESS, EQUAL_PROMINENCE = 0.9, 2.0
RATES = (20.0, 300.0)  # heartbeats per minute; outside, the heart or the sampling rate is unusual
MIN_FAST = 0.1  # share of the power from 1 to 40 Hz that is above 5 Hz; at least 0.12 in recordings
MAINS_SHARE = 0.5  # of the power; 0.01 is usual
TONE_SHARE = (
    0.9  # of the power within 0.5 Hz of the strongest frequency; at most 0.72 in recordings
)
RATE_FACTORS = (10.0, 5.0, 0.2, 0.1)  # wrong rates that the heart rate and the QRS width give away
SURE_LIKENESS, SURE_RATES = 0.8, (40.0, 180.0)  # of heartbeats seen at another sampling rate
LONG_SECONDS = 150.0
MIN_SECONDS = 5.0  # fewer beats say little about another sampling rate

SENTENCES = {
    "flat": "the signal is flat",
    "saturated": "the signal is clipped at its limits",
    "mains": "mains hum of 50 or 60 Hz covers the heartbeats",
    "tone": "the signal is a pure tone",
    "noise": "no heartbeats stand out of the noise",
    "no-beats": "no QRS complex is found",
    "slow": "fewer than 20 heartbeats per minute",
    "fast": "more than 300 heartbeats per minute",
    "rate": "the sampling rate is evidently wrong",
    "no-signal": "no lead has a usable signal",
}


@dataclass(frozen=True, kw_only=True)
class LeadQuality:
    """Whether the heartbeats can be seen in one lead."""

    lead: str
    reason: str  # a name of SENTENCES; "" where they can be seen
    likeness: float  # correlation of its heartbeats with each other, up to 1
    prominence: float  # power of a heartbeat over the lead's median power, from 5 to 20 Hz


@dataclass(frozen=True, kw_only=True)
class Acceptability:
    """Whether a signal can be read as an ECG, and how well each lead shows the heartbeats."""

    reason: str  # a name of SENTENCES; "" if the signal can be read
    detail: str  # what was found, where it says more than the reason
    leads: tuple[LeadQuality, ...]

    @property
    def sentence(self) -> str:
        """The reason in words; "" if the signal can be read."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{SENTENCES[self.reason]}{detail}" if self.reason else ""


def assess(signal: Signal, leads: Sequence[str], fs: float) -> Acceptability:
    """Whether a signal (lead, sample), in mV or any other unit, can be read as an ECG."""
    (verdict,) = assess_several(signal[None], leads, fs)
    return verdict


def assess_several(signals: Signal, leads: Sequence[str], fs: float) -> list[Acceptability]:
    """`assess` of several recordings (recording, lead, sample) with the same leads."""
    found = beat_likeness_of_several(signals, fs)
    spectra = _Spectrum.of_several(signals, fs)
    verdicts = []
    for signal, likeness, spectrum in zip(signals, found, spectra, strict=True):
        verdict = _as_sampled(signal, leads, likeness, spectrum)
        verdicts.append(
            with_evident_rate(verdict, evident_rate(signal, fs)) if verdict.reason else verdict
        )
    return verdicts


def with_evident_rate(verdict: Acceptability, true_fs: float | None) -> Acceptability:
    """The verdict, with the sampling rate as its reason if another rate (Hz) explains it."""
    if true_fs is None or verdict.reason in ("", "flat", "saturated", "mains"):
        return verdict
    return replace(verdict, reason="rate", detail=f"at {true_fs:g} Hz it would show heartbeats")


def assess_recording(signal: Signal, leads: Sequence[str], fs: float) -> Acceptability:
    """Whether a recording of any length can be read: of a long one, most of its windows.

    Of a recording longer than LONG_SECONDS, 10 s of every minute are assessed.
    """
    if signal.shape[1] <= LONG_SECONDS * fs:
        return assess(signal, leads, fs)
    minute, window = round(60 * fs), round(10 * fs)
    starts = range(0, signal.shape[1] - window + 1, minute)
    verdicts = [assess(signal[:, start : start + window], leads, fs) for start in starts]
    reasons = [verdict.reason for verdict in verdicts if verdict.reason]
    if 2 * len(reasons) <= len(verdicts):
        return next(verdict for verdict in verdicts if not verdict.reason)
    usual = max(SENTENCES, key=reasons.count)
    return next(verdict for verdict in verdicts if verdict.reason == usual)


def evident_rate(signal: Signal, fs: float) -> float | None:
    """A sampling rate (Hz) at which the signal has heartbeats that it does not have at `fs`.

    Of several such rates, the one that makes the heart rate most usual.
    """
    heart_rates = {
        fs * factor: _sure_heart_rate(signal, fs * factor)
        for factor in RATE_FACTORS
        if signal.shape[1] >= MIN_SECONDS * fs * factor
    }
    unusual = {rate: abs(math.log(beats / 70)) for rate, beats in heart_rates.items() if beats}
    return min(unusual, key=lambda rate: unusual[rate], default=None)


def _sure_heart_rate(signal: Signal, fs: float) -> float:
    """Heartbeats per minute of a signal that is surely an ECG at this sampling rate, else 0."""
    found = beat_likeness(signal, fs)
    visible = (found.likeness >= SURE_LIKENESS) & (found.prominence >= PROMINENCE)
    if not visible.any() or not SURE_RATES[0] <= found.rate <= SURE_RATES[1]:
        return 0.0
    return found.rate if _Spectrum.of(signal, fs).fast[visible].max() >= 2 * MIN_FAST else 0.0


def assess_as_sampled(signal: Signal, leads: Sequence[str], fs: float) -> Acceptability:
    """The verdict if the sampling rate is believed."""
    return _as_sampled(signal, leads, beat_likeness(signal, fs), _Spectrum.of(signal, fs))


def _as_sampled(
    signal: Signal, leads: Sequence[str], found: BeatLikeness, spectrum: "_Spectrum"
) -> Acceptability:
    qualities = tuple(
        LeadQuality(
            lead=lead,
            reason=_lead_reason(signal[i], i, found, spectrum),
            likeness=round(float(found.likeness[i]), 3),
            prominence=round(float(found.prominence[i]), 1),
        )
        for i, lead in enumerate(leads)
    )
    readable = np.array([not quality.reason for quality in qualities])
    detail = ""
    if not readable.any():
        reasons = [quality.reason for quality in qualities]
        reason = max(SENTENCES, key=reasons.count)
    elif spectrum.fast[readable].max() < MIN_FAST:
        reason, detail = "rate", "nothing in it is as fast as a QRS complex"
    elif not RATES[0] <= found.rate <= RATES[1]:
        reason = "slow" if found.rate < RATES[0] else "fast"
        detail = f"{found.rate:.0f} per minute"
    else:
        reason = ""
    return Acceptability(reason=reason, detail=detail, leads=qualities)


def _lead_reason(samples: Signal, i: int, found: BeatLikeness, spectrum: "_Spectrum") -> str:
    """Why lead number `i` shows no heartbeats; "" if it does."""
    if samples.min() == samples.max():
        return "flat"
    likeness, prominence = found.likeness[i], found.prominence[i]
    clipped = not has_signal(samples, samples)
    if likeness >= LIKENESS and prominence >= PROMINENCE:
        return "saturated" if clipped else ""
    if spectrum.mains[i] >= MAINS_SHARE:
        return "mains"
    if spectrum.tone[i] >= TONE_SHARE:
        return "tone"  # asked before clipping: a sampled tone reaches its extremes again and again
    if clipped:
        return "saturated"
    stand_out = prominence >= EQUAL_PROMINENCE or found.rate > RATES[1]
    if likeness >= EQUAL_LIKENESS and stand_out:
        return ""
    return "no-beats" if spectrum.fast[i] < MIN_FAST else "noise"


@dataclass(frozen=True, kw_only=True)
class _Spectrum:
    """Shares of the power of each lead above 0.5 Hz: (lead,) each."""

    mains: NDArray[np.float64]  # within 1 Hz of 50 or 60 Hz
    tone: NDArray[np.float64]  # within 0.5 Hz of the strongest frequency
    fast: NDArray[np.float64]  # from 5 to 40 Hz, of that from 1 to 40 Hz

    @classmethod
    def of(cls, signal: Signal, fs: float) -> "_Spectrum":
        """The shares of a recording (lead, sample)."""
        (spectrum,) = cls.of_several(signal[None], fs)
        return spectrum

    @classmethod
    def of_several(cls, signals: Signal, fs: float) -> list["_Spectrum"]:
        """The shares of each recording (recording, lead, sample), in pieces of 4 s (Welch)."""
        pieces = min(signals.shape[-1], int(4 * fs))
        f, powers = scipy.signal.welch(signals, fs, nperseg=pieces, detrend="linear")
        return [cls._of_power(f, power) for power in powers]

    @classmethod
    def _of_power(cls, f: NDArray[np.float64], density: Signal) -> "_Spectrum":
        power = density.astype(np.float64) * (f >= 0.5) + 1e-30
        strongest = f[power.argmax(axis=1)]
        near = np.abs(f - strongest[:, None]) <= 0.5 + 1e-6

        def part(low: float, high: float) -> NDArray[np.float64]:
            return np.asarray(power[:, (f >= low) & (f <= high)].sum(axis=1))

        total = power.sum(axis=1)
        return cls(
            mains=np.maximum(part(49, 51), part(59, 61)) / total,
            tone=(power * near).sum(axis=1) / total,
            fast=part(5, 40) / np.maximum(part(1, 40), 1e-30),
        )
