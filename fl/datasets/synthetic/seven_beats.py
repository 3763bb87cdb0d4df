"""The synthetic cohorts with paced patients and with ventricular escape beats, for the beat7 task.

The other patients and their beats are those of the plain cohorts, which stay as they are.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

from fl.datasets.synthetic.cohort import Patient, Synthetic
from fl.datasets.synthetic.heart import Heart, Wave
from fl.datasets.synthetic.rhythm import Beats, make_beats
from fl.util.random_streams import stream

PACED, ESCAPES = 0.12, 0.2  # shares of the patients without fibrillation
SPIKE = 0.003  # s, standard deviation of the pacemaker's spike: about what a Holter records of it
SPIKE_MV = 1.2
PAUSE = 0.7, 1.1  # s, by which an escape beat comes later than the next beat would have come
BETWEEN = 5  # beats from one escape beat to the next


@dataclass(frozen=True, kw_only=True)
class SevenBeats(Synthetic):
    """A synthetic cohort that has beats of all seven classes of the beat7 task."""

    def patient(self, index: int) -> Patient:
        """The patient of a record; some have a pacemaker, some ventricular escape beats."""
        patient = super().patient(index)
        heart = patient.heart
        if heart.fibrillates:
            return patient
        rng = stream(self.seed, self.name, patient.name, "seven beats")
        drawn = rng.random()
        if drawn < PACED:
            return replace(patient, heart=_paced(heart, rng))
        if drawn < PACED + ESCAPES:
            return replace(patient, heart=replace(heart, ectopics=heart.ectopics | {"E"}))
        return patient

    def _make_beats(self, heart: Heart, seconds: float, rng: np.random.Generator) -> Beats:
        premature = replace(heart, ectopics=heart.ectopics - {"E"})
        beats = make_beats(premature, seconds, rng)
        return _with_escapes(beats, rng) if "E" in heart.ectopics else beats


def with_seven_beats(source: Synthetic) -> SevenBeats:
    """The same cohort with beats of all seven classes."""
    return SevenBeats(**{field.name: getattr(source, field.name) for field in fields(source)})


def _paced(heart: Heart, rng: np.random.Generator) -> Heart:
    """The heart with a pacemaker in the right ventricle: a spike, then a broad QRS, no P wave."""
    spike = Wave(
        peak=-0.006,
        rise=SPIKE,
        fall=SPIKE,
        vector=SPIKE_MV * rng.choice([-1.0, 1.0]) * np.array([0.3, 0.9, 0.1]),
    )
    return replace(
        heart,
        ectopics=frozenset(),
        symbol="/",
        rate=rng.uniform(60, 75),
        p=(),
        early_p=(),
        qrs=(spike, *heart.ectopic),
        st=np.zeros(3),
        t=heart.ectopic_t,
    )


def _with_escapes(beats: Beats, rng: np.random.Generator) -> Beats:
    """Every few beats a pause, which ends with a beat of the ventricle instead of the next one."""
    onsets, rr, kinds = beats.onsets.copy(), beats.rr.copy(), beats.kinds.copy()
    for beat in range(int(rng.integers(2, BETWEEN)), len(kinds) - 1, BETWEEN):
        if set(kinds[beat - 1 : beat + 2].tolist()) == {"N"}:
            pause = rng.uniform(*PAUSE)
            onsets[beat:] += pause
            rr[beat] += pause
            kinds[beat] = "E"
    return Beats(onsets=onsets, rr=rr, kinds=kinds)
