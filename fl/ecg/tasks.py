"""The two tasks: their classes, the shape of their input and how they decide."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fl.ecg.beat_examples import BeatCutter
from fl.ecg.beat_features import FEATURES
from fl.ecg.beat_segments import BEAT_AFTER, BEAT_BEFORE, NETWORK_FS
from fl.ecg.labels import BEAT_CLASSES, RHYTHM_CLASSES
from fl.ecg.records import LEADS, Examples, Record
from fl.ecg.rhythm_windows import RHYTHM_FS, rhythm_examples


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question: its classes, the shape of its input and how it decides."""

    name: str
    classes: tuple[str, ...]
    leads: int
    samples: int
    fs: float  # Hz
    features: tuple[str, ...]
    exclusive: bool  # True: one class per example, by argmax; False: any number, by threshold
    model: str  # default network
    partition: str  # default scheme
    augment: tuple[str, ...]  # default changes to training batches
    trainable: tuple[str, ...]  # classes that training uses; the others are reported all the same
    imbalance: str  # default: a name of IMBALANCE
    batch_size: int  # default
    per_recording: int  # default: most examples of one recording in an epoch; 0 for all
    settings: str  # changes whenever preprocessing does: part of the cache's key
    cut: Callable[[Record], Examples]


RHYTHM = Task(
    name="rhythm",
    classes=RHYTHM_CLASSES,
    leads=len(LEADS),
    samples=1000,
    fs=RHYTHM_FS,
    features=(),
    exclusive=False,
    model="reslstm_temporalse",
    partition="dirichlet",
    augment=("lead_dropout", "gain", "noise", "wander"),
    trainable=RHYTHM_CLASSES,
    imbalance="none",
    batch_size=8,
    per_recording=10,
    settings="rhythm-1",
    cut=rhythm_examples,
)
BEAT = Task(
    name="beat",
    classes=BEAT_CLASSES,
    leads=2,  # lead II, and what distinguishes the beat from the patient's median beat
    samples=(BEAT_BEFORE + BEAT_AFTER) // 2,
    fs=NETWORK_FS,
    features=FEATURES,
    exclusive=True,
    model="beat_cnn",
    partition="patients",
    augment=("gain", "noise", "feature_noise"),
    # F is one patient in DS1 (373 of 415) and another in DS2 (362 of 388), Q has 8 beats in DS1:
    # what they teach of one person is wrong for the next.
    trainable=("N", "S", "V"),
    imbalance="thinned",
    batch_size=128,
    per_recording=0,
    settings="beat-3",
    cut=BeatCutter(),
)
# The same question asked of a monitor that does not know the future, and of a recording in which
# a detector found the beats: for the benchmark.
BEAT_CAUSAL = replace(
    BEAT, name="beat-causal", settings="beat-3-causal", cut=BeatCutter(causal=True)
)
BEAT_XQRS = replace(BEAT, name="beat-xqrs", settings="beat-3-xqrs", cut=BeatCutter(detector="xqrs"))
BEAT_GQRS = replace(BEAT, name="beat-gqrs", settings="beat-3-gqrs", cut=BeatCutter(detector="gqrs"))
TASKS = {task.name: task for task in (RHYTHM, BEAT, BEAT_CAUSAL, BEAT_XQRS, BEAT_GQRS)}
