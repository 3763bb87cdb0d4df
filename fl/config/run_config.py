"""Every setting of a run: read once at the edge, checked, frozen, written into run.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fl.config.strategy_traits import strategy_traits
from fl.ecg.tasks import TASKS
from fl.util.errors import ConfigError

# Trainings beside the strategies in a comparison: each site alone, and all records as one.
LOCAL, POOLED = "local", "pooled"
# Names of groups of records and of trainings, beside which no source may have the same name.
RESERVED_NAMES = frozenset({LOCAL, POOLED, "central", "unseen"})
BARE_COMPARE = "fedavg,fedprox"


class RunConfig(BaseModel):
    """The settings of one run. Each field is also a flag: `local_epochs` is `--local-epochs`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: Literal["rhythm", "beat", "beat-causal", "beat-xqrs", "beat-gqrs"] = Field(
        "rhythm",
        description="rhythm: classes of a 10 s recording; beat: class of a heartbeat; beat-causal: "
        "as a monitor knows it; beat-xqrs, beat-gqrs: beats found by a detector",
    )
    data: Literal["auto", "real", "synthetic"] = Field(
        "auto",
        description="auto: real recordings if found, else the synthetic cohort; real: an error "
        "if none is found; synthetic: the synthetic cohort",
    )
    data_dir: str = Field(
        "data", description="folder with mitdb/, cpsc2018/, ... ($ECG_DATA, else ./data)"
    )
    sources: str = Field(
        "", description="data sets to use, e.g. cpsc2018,mitdb or cpsc2018=5,mitdb=3 (sites)"
    )
    clients: int = Field(8, ge=1, description="number of sites")
    partition: str = Field(
        "",
        description="how patients are dealt to sites, or file:PATH of a saved partition.csv "
        "(dirichlet for rhythm, patients for beat)",
    )
    alpha: float = Field(
        0.5, gt=0, description="Dirichlet concentration: 0.1 is very uneven, 100 nearly even"
    )
    holdout: str = Field(
        "", description="a source, or one site by name, that is not trained on and tested as unseen"
    )
    skew: str = Field(
        "", description="what each site's own recorder does: any of noise,gain,leads,rate"
    )
    model: str = Field("", description="network (default: the task's own)")
    strategy: str = Field("fedavg", description="how the server merges the sites' weights")
    compare: str = Field(
        "",
        description="strategies to put beside every site alone and all data pooled "
        f"(without a name: {BARE_COMPARE})",
    )
    mu: float = Field(0.01, ge=0, description="weight of FedProx's proximal term")
    server_lr: float = Field(
        0.0, ge=0, description="the server's step; 0: 1 for fedavgm, 0.01 for the adaptive ones"
    )
    server_momentum: float = Field(0.9, ge=0, lt=1, description="fedavgm's momentum")
    rounds: int = Field(20, ge=1, description="federated rounds")
    local_epochs: int = Field(3, ge=1, description="passes over a site's records per round")
    per_recording: int = Field(
        -1,
        ge=-1,
        description="most examples of one recording in one epoch, 0 for all (10 for rhythm, all "
        "for beat)",
    )
    batch_size: int = Field(0, ge=0, description="records per step (0: 8 for rhythm, 128 for beat)")
    imbalance: Literal["auto", "none", "thinned", "balanced", "weighted", "focal"] = Field(
        "auto",
        description="rare classes: a quarter of the commonest per epoch (thinned), every class "
        "equally often (balanced), weights in the loss, focal loss; auto: the task's own",
    )
    augment: str = Field(
        "auto",
        description="changes to training batches, e.g. lead_dropout,noise; auto: the task's own; "
        "none",
    )
    lr: float = Field(
        0.0,
        ge=0,
        description="peak learning rate; 0: 0.002 for adamw, 0.05 for sgd",
    )
    optimizer: Literal["adamw", "sgd"] = Field(
        "adamw", description="what trains at a site (scaffold: always sgd, without momentum)"
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="sgd's momentum")
    schedule: Literal["run", "round", "constant"] = Field(
        "run",
        description="learning rate: one warm-up and cosine over the whole run, over each round, "
        "or none",
    )
    optimizer_state: Literal["kept", "fresh"] = Field(
        "kept",
        description="the optimizer's moments stay at the site between rounds, or begin afresh",
    )
    weighting: Literal["records", "root", "even"] = Field(
        "records",
        description="a site counts by its records, by their square root, or as one of many",
    )
    averaging: Literal["evidence", "plain"] = Field(
        "evidence",
        description="weights of a class or a lead are averaged over the records that have it, or "
        "as all others are",
    )
    finetune_epochs: int = Field(
        3, ge=1, description="strategy finetune: epochs at each site after the last round"
    )
    weight_decay: float = Field(0.01, ge=0, description="the optimizer's weight decay")
    patience: int = Field(
        0, ge=0, description="stop after this many rounds without a better validation; 0: never"
    )
    fraction: float = Field(1.0, gt=0, le=1, description="share of the sites in each round")
    quorum: float = Field(
        0.5, gt=0, le=1, description="share of a round's sites that must answer, else the run stops"
    )
    timeout: float = Field(3600.0, gt=0, description="seconds to wait for the sites of a round")
    seed: int = Field(0, ge=0, description="same seed, same results")
    seeds: str = Field("", description="repeat the whole run with each of these seeds, e.g. 0,1,2")
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
    workers: int = Field(0, ge=0, description="worker processes (0: one per core)")
    device: Literal["cpu", "cuda"] = Field("cpu", description="where networks run")
    synthetic_records: int = Field(
        800, ge=50, description="recordings in the synthetic 12-lead cohort (half as many 2-lead)"
    )

    synthetic_patients: int = Field(
        0,
        ge=0,
        description="patients behind them (half as many behind the 2-lead ones); 0: 19 for every "
        "20 recordings",
    )

    @model_validator(mode="after")
    def _fill_defaults(self) -> Self:
        # A frozen model is filled once, here, so that run.json shows what was really used.
        task = TASKS[self.task]
        for name, value in (("model", task.model), ("partition", task.partition)):
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        self._fill_comparison()
        # In a comparison every strategy has the rate it would have by itself: `for_strategy`.
        if self.lr == 0 and not self.compare:
            sgd = self.optimizer == "sgd" or strategy_traits(self.strategy).plain_sgd
            object.__setattr__(self, "lr", 0.05 if sgd else 2e-3)
        if self.augment == "auto":
            object.__setattr__(self, "augment", ",".join(task.augment) or "none")
        if self.imbalance == "auto":
            object.__setattr__(self, "imbalance", task.imbalance)
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"--momentum is {self.momentum}, which is for --optimizer sgd alone.")
        if self.ray_address and self.engine != "ray":
            raise ValueError(
                f"--ray-address is {self.ray_address!r}, but --engine is {self.engine!r}: only "
                "ray runs on a cluster. A resumed run leaves its cluster with --ray-address ''."
            )
        if self.synthetic_patients > self.synthetic_records:
            raise ValueError(
                f"--synthetic-patients is {self.synthetic_patients}, but --synthetic-records is "
                f"{self.synthetic_records}: a patient needs a recording."
            )
        if self.imbalance in {"thinned", "balanced"} and not task.exclusive:
            raise ValueError(
                f"--imbalance is {self.imbalance!r}, which is for beats alone: they have one "
                "class each. For rhythm: none, weighted, focal."
            )
        if not self.batch_size:
            object.__setattr__(self, "batch_size", task.batch_size)
        if self.per_recording < 0:
            object.__setattr__(self, "per_recording", task.per_recording)
        return self

    def _fill_comparison(self) -> None:
        """Names in order and once each; a `--strategy` that was asked for is among them."""
        if self.compare:
            names = [name.strip() for name in self.compare.split(",") if name.strip()]
            if not names:
                raise ValueError(
                    f"--compare is {self.compare!r}: names of strategies, e.g. {BARE_COMPARE}."
                )
            if "strategy" in self.model_fields_set:
                names.append(self.strategy)
            object.__setattr__(self, "compare", ",".join(dict.fromkeys(names)))
            object.__setattr__(self, "strategy", self.strategies[0])
        if self.seeds:
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

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies to train by."""
        return tuple(self.compare.split(",")) if self.compare else (self.strategy,)

    @property
    def each_seed(self) -> tuple[int, ...]:
        """The seeds to repeat the run with; empty without `--seeds`."""
        return tuple(int(text) for text in self.seeds.split(",")) if self.seeds else ()

    def for_strategy(self, name: str) -> Self:
        """The settings of one training of a comparison."""
        return type(self)(**(self.model_dump() | {"strategy": name, "compare": "", "seeds": ""}))

    def for_seed(self, seed: int) -> Self:
        """The settings of one repetition."""
        return type(self)(**(self.model_dump() | {"seed": seed, "seeds": ""}))

    @property
    def augmentations(self) -> tuple[str, ...]:
        """Names of the changes to training batches."""
        return () if self.augment == "none" else tuple(self.augment.split(","))

    @property
    def skews(self) -> tuple[str, ...]:
        """Names of what each site's recorder does."""
        return tuple(self.skew.split(",")) if self.skew else ()

    @property
    def partition_file(self) -> Path | None:
        """The saved partition to use, if one is named."""
        scheme, _, path = self.partition.partition(":")
        return Path(path) if scheme == "file" else None


def checked(settings: Mapping[str, Any]) -> RunConfig:
    """The settings as a configuration. `ConfigError` names what is wrong."""
    try:
        return RunConfig(**settings)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from error


def _one_line(error: ValidationError) -> str:
    """Pydantic's first complaint as `--flag is VALUE: what is accepted`."""
    first = error.errors()[0]
    if not first["loc"]:  # a rule between settings: it names them itself
        return first["msg"].removeprefix("Value error, ")
    name = str(first["loc"][0]).replace("_", "-")
    wanted = first["msg"][0].lower() + first["msg"][1:]
    return f"--{name} is {first['input']!r}: {wanted}."
