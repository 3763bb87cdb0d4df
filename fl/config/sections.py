"""The settings of a run, in sections by what a person wants to set.

A function that needs one section takes that section's type. `RunConfig` is all of them in one:
its keys are flat, and each is a flag of the command line and a key of the TOML file.
"""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

BARE_COMPARE = "fedavg,fedprox"  # what `--compare` without a name compares


class Section(BaseModel):
    """Settings that belong together. `title` is their heading in `--help`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    title: ClassVar[str]


class DataSettings(Section):
    """Which question is asked, and of which recordings."""

    title: ClassVar[str] = "data"

    task: Literal[
        "rhythm",
        "beat",
        "beat-causal",
        "beat-xqrs",
        "beat-gqrs",
        "beat-plain",
        "beat7",
        "mi",
        "mi-12lead",
        "rhythm-wavelet",
        "beat-wavelet",
        "rhythm-rr",
        "rhythm-beats",
        "rhythm-waves",
        "rhythm-amplitude",
        "rhythm-signal",
    ] = Field(
        "rhythm",
        description="rhythm: classes of a 10 s recording; beat: class of a heartbeat; beat7: what "
        "a whole heartbeat looks like, for pictures, with paced ones; "
        "beat-causal: from the past alone, as a monitor sees it; beat-xqrs, beat-gqrs: beats "
        "found by a detector; beat-plain: from its wave alone; mi: myocardial infarction, from "
        "beats of lead II; mi-12lead: from all leads; rhythm-wavelet, beat-wavelet: what --filter "
        "wavelet makes of them; rhythm-signal, ...: what --rhythm-features makes of rhythm",
    )
    filter: Literal["bandpass", "wavelet"] = Field(
        "bandpass",
        description="what removes noise and baseline: bandpass: 0.5 to 40 Hz (beat: median "
        "filters); wavelet: wavelet denoising",
    )
    rhythm_features: Literal["auto", "all", "none", "rr", "beats", "waves", "amplitude"] = Field(
        "auto",
        description="numbers that the rhythm networks read beside the signal: auto: all for the "
        "task rhythm, none for others; rr: rate and irregularity; beats: what a network of "
        "heartbeats finds; waves: ST level, QRS width, P wave; amplitude: of each lead, in mV",
    )
    data: Literal["auto", "real", "synthetic"] = Field(
        "auto",
        description="auto: real recordings if any are found, else the synthetic cohort; real: an "
        "error if none is found; synthetic: the synthetic cohort",
    )
    data_dir: str = Field(
        "data", description="folder with mitdb/, cpsc2018/, ... ($ECG_DATA, else ./data)"
    )
    sources: str = Field(
        "",
        description="data sets to use, e.g. cpsc2018,mitdb; cpsc2018=5,mitdb=3 also sets how many "
        "sites each has; mysite=PATH adds a folder",
    )
    ignore_checksums: bool = Field(
        False,
        description="also use recordings that do not match the checksums in their headers",
    )
    synthetic_records: int = Field(
        800, ge=50, description="recordings in the synthetic 12-lead cohort (half as many 2-lead)"
    )
    synthetic_patients: int = Field(
        0,
        ge=0,
        description="patients in the synthetic 12-lead cohort (half as many 2-lead); 0: 19 for "
        "every 20 recordings",
    )

    @model_validator(mode="after")
    def _check_synthetic_patients(self) -> Self:
        if self.synthetic_patients > self.synthetic_records:
            raise ValueError(
                f"--synthetic-patients is {self.synthetic_patients}, but --synthetic-records is "
                f"{self.synthetic_records}: a patient needs a recording."
            )
        return self


class PartitionSettings(Section):
    """How patients are dealt to sites (hospitals)."""

    title: ClassVar[str] = "sites"

    clients: int = Field(8, ge=1, description="number of sites")
    partition: str = Field(
        "",
        description="how patients are dealt to sites, or file:PATH of a saved partition.csv "
        "(default: the task's own)",
    )
    alpha: float = Field(
        0.5, gt=0, description="Dirichlet concentration: 0.1 is very uneven, 100 nearly even"
    )
    holdout: str = Field(
        "", description="a source, or one site by name, that nobody trains on: tested as unseen"
    )
    skew: str = Field(
        "", description="faults that each site's own recorder has, with commas between them"
    )
    site_folds: int = Field(
        -1,
        ge=-1,
        description="folds of each site's patients: as many runs, each of which tests one fold, so "
        "that every patient of a site is tested once; 0: one run, 15% are tested; -1: the "
        "task's own",
    )
    site_fold: int = Field(
        0, ge=0, description="run this one of the folds alone; 0: all of them, one after the other"
    )

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        if self.site_folds == 1:
            raise ValueError(
                "--site-folds is 1: with one fold no patient would be left to train on. Accepted: "
                "2 or more, or 0 for none."
            )
        return self

    @property
    def each_fold(self) -> tuple[int, ...]:
        """The folds to run one after the other; empty if the run is not one of all folds."""
        return () if self.site_fold else tuple(range(1, self.site_folds + 1))

    @property
    def skews(self) -> tuple[str, ...]:
        """Names of the faults that each site's recorder has."""
        return tuple(self.skew.split(",")) if self.skew else ()

    @property
    def partition_file(self) -> Path | None:
        """The saved partition to use, if one is named."""
        scheme, _, path = self.partition.partition(":")
        return Path(path) if scheme == "file" else None


class ModelSettings(Section):
    """The network."""

    title: ClassVar[str] = "model"

    model: str = Field("", description="network (default: the task's own)")
    init_from: str = Field(
        "",
        description="weights of a run (.safetensors) that training starts from; the head is taken "
        "if the classes are the same",
    )
    freeze: Literal["none", "features"] = Field(
        "none",
        description="features: the layers that read the signal stay as in --init-from; new dense "
        "layers and a new head are trained",
    )

    @model_validator(mode="after")
    def _check_freeze(self) -> Self:
        if self.freeze != "none" and not self.init_from:
            raise ValueError(
                f"--freeze is {self.freeze!r}, but no --init-from names the weights that would "
                "stay: name a run's weights, e.g. runs/NAME/weights/fedavg-best.safetensors."
            )
        return self


class TrainingSettings(Section):
    """How a site trains in one round."""

    title: ClassVar[str] = "training at a site"

    local_epochs: int = Field(
        0, ge=0, description="passes over a site's records per round; 0: the task's own"
    )
    per_recording: int = Field(
        -1,
        ge=-1,
        description="most examples of one recording in one epoch, 0 for all; -1: the task's own",
    )
    batch_size: int = Field(0, ge=0, description="records per step; 0: the task's own")
    imbalance: Literal[
        "auto",
        "none",
        "thinned",
        "balanced",
        "oversampled",
        "undersampled",
        "smote",
        "weighted",
        "focal",
    ] = Field(
        "auto",
        description="rare classes: a quarter of the commonest per epoch (thinned), every class "
        "equally often (balanced), rarer ones drawn again (oversampled), frequent ones left out at "
        "random (undersampled), beats interpolated between neighbours (smote), weights in the "
        "loss, focal loss; auto: the task's own",
    )
    simulated_rare: int = Field(
        0,
        ge=0,
        description="synthetic recordings of its rare classes that each site adds to its training "
        "set alone",
    )
    loss_weights: Literal["records", "patients"] = Field(
        "records",
        description="every record of an epoch counts alike in the loss, or every patient",
    )
    augment: str = Field(
        "auto",
        description="changes to training batches, with commas between them; auto: the task's own; "
        "none",
    )
    lr: float = Field(
        0.0,
        ge=0,
        description="peak learning rate; 0: for adamw the task's own, for sgd 0.05",
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw", description="optimizer at a site (scaffold: always sgd without momentum)"
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="momentum of sgd")
    schedule: Literal["run", "round", "constant"] = Field(
        "run",
        description="learning rate: one warm-up and cosine over the whole run, over each round, "
        "or none",
    )
    optimizer_state: Literal["kept", "fresh"] = Field(
        "kept",
        description="the optimizer's moments stay at the site between rounds, or start at zero "
        "in each",
    )
    finetune_epochs: int = Field(
        3, ge=1, description="strategy finetune: epochs at each site after the last round"
    )
    personal_epochs: int = Field(
        6, ge=1, description="strategy personal: epochs at each site after the last round"
    )
    weight_decay: float = Field(0.01, ge=0, description="weight decay of the optimizer")
    dropout: float = Field(
        -1.0, lt=1, description="share that the network's dropout layers drop; -1: its own"
    )
    signal_dropout: float = Field(
        -1.0,
        lt=1,
        description="share of training examples that show only their features, without the "
        "signal; -1: the network's own",
    )

    @model_validator(mode="after")
    def _check_dropout(self) -> Self:
        for flag, share in (
            ("--dropout", self.dropout),
            ("--signal-dropout", self.signal_dropout),
        ):
            if share < 0 and share != -1:
                raise ValueError(
                    f"{flag} is {share}: from 0 up to and without 1, or -1 for the network's own."
                )
        return self

    @model_validator(mode="after")
    def _check_momentum(self) -> Self:
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"--momentum is {self.momentum}, which is for --optimizer sgd alone.")
        return self

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Names of the changes to training batches."""
        return () if self.augment == "none" else tuple(self.augment.split(","))


class RoundSettings(Section):
    """How the server runs the rounds and merges what the sites send."""

    title: ClassVar[str] = "federation"

    strategy: str = Field("fedavg", description="how the server merges the sites' weights")
    mu: float = Field(
        1.0,
        ge=0,
        description="weight of FedProx's proximal term: a step takes the share lr * mu of the way "
        "back to the weights of the round",
    )
    proximal: Literal["decoupled", "loss"] = Field(
        "decoupled",
        description="FedProx's term as a step of its own beside the optimizer's, or in the loss, "
        "where AdamW rescales it",
    )
    server_lr: float = Field(
        0.0, ge=0, description="the server's step; 0: 1 for fedavgm, 0.01 for the adaptive ones"
    )
    server_momentum: float = Field(0.9, ge=0, lt=1, description="momentum of fedavgm")
    rounds: int = Field(0, ge=0, description="federated rounds; 0: the task's own")
    fraction: float = Field(1.0, gt=0, le=1, description="share of the sites in each round")
    weighting: Literal["patients", "records", "root", "even"] = Field(
        "patients",
        description="a site counts by its patients, by its records, by the square root of its "
        "records, or as one of many",
    )
    averaging: Literal["evidence", "plain"] = Field(
        "evidence",
        description="weights of a class or a lead are averaged over the records that have it, or "
        "as all others are",
    )
    average_rounds: int = Field(
        0,
        ge=0,
        description="after the last round the sites also validate the mean of this many last "
        "rounds' weights; it is used if no round is better; 0 or 1: no mean",
    )
    clip_updates: float = Field(
        10.0,
        ge=0,
        description="a site's update that is more than this many times as long as the median of "
        "its round, of three sites at least, is scaled to the median, and its site named; 0: "
        "never",
    )
    secure_aggregation: bool = Field(
        False,
        description="the server learns the sum of what the sites found in a round, and no site's "
        "own update or validation",
    )
    patience: int = Field(
        0, ge=0, description="stop after this many rounds without a better validation; 0: never"
    )
    quorum: float = Field(
        0.5, gt=0, le=1, description="share of a round's sites that must answer, else the run stops"
    )
    timeout: float = Field(3600.0, gt=0, description="seconds to wait for the sites of a round")


class PrivacySettings(Section):
    """How much the weights and counts that leave a site may tell of one patient."""

    title: ClassVar[str] = "differential privacy"

    dp: Literal["none", "patient"] = Field(
        "none",
        description="patient: whether one patient's recordings were among a site's changes what "
        "leaves it by no more than --epsilon and --delta allow (DP-SGD; needs the extra "
        "'privacy')",
    )
    epsilon: float = Field(8.0, gt=0, description="privacy budget of each patient for the run")
    delta: float | Literal["auto"] = Field(
        "auto",
        description="chance that --epsilon does not hold, well below one over the number of "
        "patients; auto: 1e-05",
    )
    clip: float = Field(
        1.0, gt=0, description="most that one patient moves the sum of gradients of a step"
    )
    dp_scope: Literal["all", "head"] = Field(
        "all",
        description="head: the dense layers alone are trained, from those of --init-from on, which "
        "must know none of these patients",
    )
    sample_rate: float = Field(
        0.25,
        gt=0,
        le=1,
        description="chance of each patient to be drawn for a step; a round has --local-epochs "
        "over this many steps, or one under --secure-aggregation",
    )
    noise_multiplier: float = Field(
        0.0,
        ge=0,
        description="standard deviation of a step's noise over --clip; 0: the least that keeps "
        "--epsilon",
    )

    @model_validator(mode="after")
    def _check_delta(self) -> Self:
        if self.delta != "auto" and not 0 < self.delta < 0.1:
            raise ValueError(
                f"--delta is {self.delta}: a chance above 0 and below 0.1, or auto. It should be "
                "well below one over the number of patients."
            )
        return self


class ComparisonSettings(Section):
    """What the result is compared with, and how often the run is repeated."""

    title: ClassVar[str] = "comparison"

    compare: str = Field(
        "",
        description="strategies to compare with local training and with all data pooled "
        f"(without a name: {BARE_COMPARE})",
    )
    lr_local: float = Field(
        0.0, ge=0, description="peak learning rate of local training; 0: as --lr"
    )
    lr_pooled: float = Field(
        0.0, ge=0, description="peak learning rate of pooled training; 0: as --lr"
    )
    seed: int = Field(0, ge=0, description="same seed, same results")
    seeds: str = Field("", description="repeat the whole run with each of these seeds, e.g. 0,1,2")

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if not self.seeds:
            return self
        given = [text.strip() for text in self.seeds.split(",")]
        if not all(text.isdecimal() for text in given) or len(set(given)) < len(given):
            raise ValueError(
                f"--seeds is {self.seeds!r}: different whole numbers from 0, with commas "
                "between them, e.g. 0,1,2."
            )
        if "seed" in self.model_fields_set and self.seed != int(given[0]):
            raise ValueError(f"--seed is {self.seed} and --seeds is {self.seeds}: give one.")
        object.__setattr__(self, "seeds", ",".join(str(int(text)) for text in given))
        object.__setattr__(self, "seed", self.each_seed[0])
        return self

    @property
    def each_seed(self) -> tuple[int, ...]:
        """The seeds to repeat the run with; empty without `--seeds`."""
        return tuple(int(text) for text in self.seeds.split(",")) if self.seeds else ()


class EngineSettings(Section):
    """Where and how fast it runs. Of these, only the device can change a result."""

    title: ClassVar[str] = "engine"

    engine: Literal["ray", "local", "flower"] = Field(
        "ray",
        description="ray: worker processes; local: in this process, for debugging; flower: "
        "Flower's own simulation engine",
    )
    ray_address: str = Field(
        "",
        description="an existing Ray cluster, whose machines need share no disk: HOST:PORT, or "
        "auto for the one this machine belongs to",
    )
    workers: int = Field(0, ge=0, description="worker processes; 0: one per core")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where networks run")

    @model_validator(mode="after")
    def _check_cluster(self) -> Self:
        if self.ray_address and self.engine != "ray":
            raise ValueError(
                f"--ray-address is {self.ray_address!r}, but --engine is {self.engine!r}: only "
                "ray runs on a cluster. A resumed run leaves its cluster with --ray-address ''."
            )
        return self


# In the order of `--help`.
SECTIONS: tuple[type[Section], ...] = (
    DataSettings,
    PartitionSettings,
    ModelSettings,
    TrainingSettings,
    RoundSettings,
    PrivacySettings,
    ComparisonSettings,
    EngineSettings,
)
