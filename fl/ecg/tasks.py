"""The tasks: their classes, the shape of their input and how they decide."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from fl.ecg.beat_cuts import (
    CUT_FS,
    CUT_SAMPLES,
    PlainBeatMaker,
    infarction_beats,
    infarction_recording,
)
from fl.ecg.beat_examples import BeatExampleMaker
from fl.ecg.beat_features import FEATURES
from fl.ecg.beat_pictures import BEAT7_CLASSES, SAMPLES, USUAL_SECONDS, WholeBeatMaker
from fl.ecg.beat_segments import BEAT_AFTER, BEAT_BEFORE, NETWORK_FS
from fl.ecg.labels import BEAT_CLASSES, INFARCTION_CLASSES, RHYTHM_CLASSES
from fl.ecg.records import LEADS, Examples, Record
from fl.ecg.rhythm.examples import examples_with_features
from fl.ecg.rhythm.features import GROUPS, feature_names
from fl.ecg.rhythm.windows import RHYTHM_FS, rhythm_examples


@dataclass(frozen=True, kw_only=True)
class Task:
    """A question about ECGs: its classes, the shape of its input, its defaults for training."""

    name: str
    classes: tuple[str, ...]
    leads: int  # of a network's input
    samples: int  # of a network's input
    fs: float  # Hz
    features: tuple[str, ...]  # names of the numbers that accompany each signal
    alone: str  # a class that excludes all others where any number is possible, or ""
    # The class of an example that reaches no other class's threshold, where an example has exactly
    # one class; "" where it may have any number.
    otherwise: str
    # Odds of a finding at a source that no site trained on, against those at the sources trained
    # on; 1 where nothing is known of them.
    new_source_odds: float
    model: str  # default network, a name of MODELS
    partition: str  # default scheme, a name of PARTITIONERS
    augment: tuple[str, ...]  # default augmentations, names of AUGMENTATIONS
    trainable: tuple[str, ...]  # classes that training uses; results are reported for all classes
    imbalance: str  # default remedy for rare classes, a name of IMBALANCE
    batch_size: int  # default
    lr: float  # default peak learning rate of AdamW
    rounds: int  # default
    local_epochs: int  # default: passes over a site's examples in a round
    site_folds: int  # default: folds of each site's patients; 0 for one run
    per_recording: int  # default: at most so many examples of a recording in an epoch; 0 for all
    preprocessing: str  # version of the preprocessing, part of the name of its cache folder
    make_examples: Callable[[Record], Examples]  # raises UnusableRecord if there are none
    feature_groups: tuple[str, ...] = ()  # of rhythm: names of fl.ecg.rhythm.features.GROUPS
    filter: str = "bandpass"  # what removes noise and baseline: see `task_with_filter`
    causal: bool = False  # True: nothing later than about a second after a beat is known
    # True: an example is one whole heartbeat from -1 to 1, which can be drawn as a picture
    whole_beats: bool = False
    infarction: bool = False  # True: the label of a recording is `Record.infarction`
    stride: int = 1  # samples between the places at which a crop may start
    crops: int = 4  # crops of an example, at most, over which a prediction is averaged
    padded: bool = False  # True: an example ends in zeros that are no signal
    spread: float = 1.0  # standard deviation of a signal, about: z-scored ones have 1

    @property
    def exclusive(self) -> bool:
        """Whether an example has exactly one class."""
        return bool(self.otherwise)

    @property
    def decided(self) -> tuple[str, ...]:
        """The classes that have a threshold; a class that training does not use has none."""
        return tuple(name for name in self.trainable if name != self.otherwise)


# The rhythm task whose networks see the signal alone.
RHYTHM_SIGNAL = Task(
    name="rhythm-signal",
    classes=RHYTHM_CLASSES,
    leads=len(LEADS),
    samples=1000,
    fs=RHYTHM_FS,
    features=(),
    alone="NSR",  # in CPSC2018: nothing else was found
    otherwise="",
    # Archives are collected for their findings, and a closed label set leaves out everybody who
    # has none. With a quarter, as many findings are expected at Georgia and CPSC-Extra, which were
    # not trained on, as there are (docs/protocol.md).
    new_source_odds=0.25,
    model="reslstm_temporalse",
    partition="dirichlet",
    augment=("lead_dropout", "gain", "noise", "wander"),
    trainable=RHYTHM_CLASSES,
    imbalance="none",
    batch_size=8,
    lr=2e-3,
    rounds=20,
    local_epochs=3,
    site_folds=0,
    per_recording=10,
    preprocessing="rhythm-3",
    make_examples=rhythm_examples,
)
BEAT = Task(
    name="beat",
    classes=BEAT_CLASSES,
    leads=2,  # lead II, and its difference from the patient's median beat
    samples=(BEAT_BEFORE + BEAT_AFTER) // 2,
    fs=NETWORK_FS,
    features=FEATURES,
    alone="",
    otherwise="N",
    new_source_odds=1.0,  # every beat of a recording is annotated, so that none is selected
    model="beat_cnn",
    partition="patients",
    augment=("gain", "noise", "detector", "feature_noise"),
    # Not F and Q: in DS1, 373 of 415 F beats are of one patient (in DS2, 362 of 388 of another),
    # and there are 8 Q beats. What is learnt from one person is wrong for the next.
    trainable=("N", "S", "V"),
    imbalance="thinned",
    batch_size=128,
    lr=5e-3,
    rounds=10,
    local_epochs=1,
    site_folds=3,  # a site has few patients with S: it tests each of them, not some
    per_recording=0,
    preprocessing="beat-4",
    make_examples=BeatExampleMaker(),
)
# For the benchmark: the same question for a monitor, which cannot use later beats, and for
# recordings in which a detector finds the beats.
BEAT_CAUSAL = replace(
    BEAT,
    name="beat-causal",
    preprocessing="beat-4-causal",
    make_examples=BeatExampleMaker(causal=True),
    causal=True,
)
BEAT_XQRS = replace(
    BEAT,
    name="beat-xqrs",
    preprocessing="beat-4-xqrs",
    make_examples=BeatExampleMaker(detector="xqrs"),
)
BEAT_GQRS = replace(
    BEAT,
    name="beat-gqrs",
    preprocessing="beat-4-gqrs",
    make_examples=BeatExampleMaker(detector="gqrs"),
)
# Beats as pictures (Jun et al. 2018, arXiv:1804.06812): what a beat looks like, with paced ones.
BEAT7 = Task(
    name="beat7",
    classes=BEAT7_CLASSES,
    leads=1,  # lead II, or V5 where it was not recorded
    samples=SAMPLES,
    fs=SAMPLES / USUAL_SECONDS,  # of a beat of usual length: every beat has as many samples
    features=(),
    alone="",
    otherwise="N",
    new_source_odds=1.0,
    model="cnn2d",
    partition="patients",
    augment=("crops",),
    trainable=BEAT7_CLASSES,
    imbalance="thinned",
    batch_size=32,  # of more, the pictures in between do not fit the cache of a core
    lr=2e-3,
    rounds=10,
    local_epochs=1,
    site_folds=0,  # a run takes long, and few patients of a site have a class other than N
    per_recording=400,  # of about 2,000: beats of one recording are much alike
    preprocessing="beat7-1",
    make_examples=WholeBeatMaker(),
    whole_beats=True,
)
# Beats as Kachuee et al. 2018 cut them (arXiv:1805.00794). `beat-plain` has what `mi` has, cuts of
# lead II alone, so that a network that has learnt it can be trained further for `mi`.
BEAT_PLAIN = replace(
    BEAT,
    name="beat-plain",
    leads=1,
    samples=CUT_SAMPLES,
    fs=CUT_FS,
    features=(),
    model="cnn1d",
    augment=("noise", "wander"),
    lr=2e-3,
    site_folds=0,  # one run, whose weights are then trained further
    per_recording=300,  # so that an epoch is quick; an epoch takes other ones each time
    preprocessing="beat-plain-1",
    make_examples=PlainBeatMaker(),
    padded=True,
    spread=0.2,
)
MI = replace(
    BEAT_PLAIN,
    name="mi",
    classes=INFARCTION_CLASSES,
    otherwise="",
    # With about fifty patients with an infarction, any other scheme leaves sites at which nothing
    # can be measured.
    partition="iid",
    trainable=INFARCTION_CLASSES,
    imbalance="none",
    batch_size=16,
    rounds=20,
    local_epochs=3,  # an epoch shows one beat of each recording
    site_folds=3,  # a site has few patients with an infarction: it tests each of them
    per_recording=0,
    preprocessing="mi-1",
    make_examples=infarction_beats,
    infarction=True,
    stride=CUT_SAMPLES,  # a crop is one beat
    crops=16,  # more beats than ten seconds have
)
MI_12LEAD = replace(
    RHYTHM_SIGNAL,
    name="mi-12lead",
    classes=INFARCTION_CLASSES,
    alone="",
    # Who is admitted with an infarction, and who is a healthy control, is decided by those who
    # collect the recordings; nothing is known of a new source.
    new_source_odds=1.0,
    partition=MI.partition,
    trainable=INFARCTION_CLASSES,
    site_folds=3,
    preprocessing="mi-12lead-1",
    make_examples=infarction_recording,
    infarction=True,
)
# The same questions with signals that wavelets cleaned: `--filter wavelet`.
RHYTHM_WAVELET = replace(
    RHYTHM_SIGNAL,
    name="rhythm-wavelet",
    preprocessing="rhythm-3-wavelet-1",
    make_examples=partial(rhythm_examples, wavelet=True),
    filter="wavelet",
)
BEAT_WAVELET = replace(
    BEAT,
    name="beat-wavelet",
    preprocessing="beat-4-wavelet-1",
    make_examples=BeatExampleMaker(wavelet=True),
    filter="wavelet",
)


def _with_features(name: str, groups: tuple[str, ...]) -> Task:
    """The rhythm task whose examples are accompanied by features of these groups."""
    return replace(
        RHYTHM_SIGNAL,
        name=name,
        features=feature_names(groups),
        feature_groups=groups,
        preprocessing=f"{RHYTHM_SIGNAL.preprocessing}-{'-'.join(groups)}-1",
        make_examples=partial(examples_with_features, groups=groups),
    )


# What is measured on the heartbeats and waves of a recording goes into the network with its
# signal. All of it did best in the study of ideas (docs/results.md, "Ideas for a better global
# model"); the other forms are chosen with `--rhythm-features`.
RHYTHM = _with_features("rhythm", GROUPS)
RHYTHM_FEATURES = {
    "all": RHYTHM,
    "none": RHYTHM_SIGNAL,
    **{group: _with_features(f"rhythm-{group}", (group,)) for group in GROUPS},
}
TASKS = {
    task.name: task
    for task in (
        *RHYTHM_FEATURES.values(),
        BEAT,
        BEAT_CAUSAL,
        BEAT_XQRS,
        BEAT_GQRS,
        BEAT_PLAIN,
        BEAT7,
        MI,
        MI_12LEAD,
        RHYTHM_WAVELET,
        BEAT_WAVELET,
    )
}


def task_with_filter(name: str, chosen: str) -> Task:
    """The task of this name whose signals have the chosen filter; ValueError if there is none.

    `bandpass` is the task's own: 0.5 to 40 Hz for rhythm, median filters that remove the baseline
    for beats. The variant with wavelets is a task of its own, so that nothing that is kept of one
    (examples, weights, results) is taken for the other.
    """
    task = TASKS[name]
    if chosen in ("bandpass", task.filter):
        return task
    variant = f"{name}-{chosen}"
    if variant not in TASKS:
        having = ", ".join(
            t.name.removesuffix("-wavelet") for t in TASKS.values() if t.filter == chosen
        )
        raise ValueError(
            f"--filter is {chosen!r}, which the {name} task does not have. Accepted: bandpass, or "
            f"one of the tasks {having}."
        )
    return TASKS[variant]


def task_with_features(task: Task, chosen: str) -> Task:
    """The form of the rhythm task with the chosen features; ValueError if the task has no such.

    Each form is a task of its own, as those of `task_with_filter` are. "auto" leaves the task as
    it is: `rhythm` has all features, other tasks have none that can be chosen.
    """
    if chosen in ("auto", features_of_task(task)):
        return task
    if task is not RHYTHM:
        raise ValueError(
            f"--rhythm-features is {chosen!r}, which the {task.name} task does not have. Accepted: "
            f"auto, or with --task rhythm one of {', '.join(RHYTHM_FEATURES)}."
        )
    return RHYTHM_FEATURES[chosen]


def features_of_task(task: Task) -> str:
    """The value of `--rhythm-features` that chooses this task; "none" for a task without them."""
    return next((name for name, form in RHYTHM_FEATURES.items() if form is task), "none")
