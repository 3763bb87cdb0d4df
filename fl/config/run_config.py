"""Every setting of a run: read once at the edge, checked, frozen, written into run.json."""

from collections.abc import Mapping
from typing import Any, Literal, Self, get_args, get_origin

from pydantic import ValidationError, model_validator

from fl.config.private_settings import NONE, private_defaults
from fl.config.sections import (
    BARE_COMPARE,
    ComparisonSettings,
    DataSettings,
    EngineSettings,
    ModelSettings,
    PartitionSettings,
    PrivacySettings,
    RoundSettings,
    TrainingSettings,
)
from fl.config.strategy_traits import POOLED_PERSONAL, strategy_traits
from fl.ecg.tasks import features_of_task, task_with_features, task_with_filter
from fl.util.errors import ConfigError, did_you_mean

# Trainings beside the strategies in a comparison: each site alone, and all records as one.
LOCAL, POOLED = "local", "pooled"
# With a strategy whose trait `after_pooled` names it, it is one of them too.
NOT_FEDERATED = (LOCAL, POOLED, POOLED_PERSONAL)
# Names of groups of records and of trainings, beside which no source may have the same name.
RESERVED_NAMES = frozenset({*NOT_FEDERATED, "central", "unseen"})


PLAIN = "fedavg"  # the strategy whose sites do plain training and nothing else
FEWEST_SECURE_SITES = 3  # whose updates a sum can hide
SGD_LR = 0.05  # default of every task
# Settings that --dp patient fills in its own way.
CHANGED_BY_PRIVACY = ("imbalance", "averaging", "optimizer", "lr")


# The last section first: pydantic takes the fields of the last base first, so that the keys of
# run.json come in the order of the sections.
class RunConfig(
    EngineSettings,
    ComparisonSettings,
    PrivacySettings,
    RoundSettings,
    TrainingSettings,
    ModelSettings,
    PartitionSettings,
    DataSettings,
):
    """The settings of one run. Each field is also a flag: `local_epochs` is `--local-epochs`."""

    @model_validator(mode="after")
    def _fill_defaults(self) -> Self:
        # A frozen model is filled once, here, so that run.json shows what was really used.
        task = task_with_features(task_with_filter(self.task, self.filter), self.rhythm_features)
        self._fill_comparison()
        filled: dict[str, Any] = {
            "task": task.name,
            "filter": task.filter,
            "rhythm_features": features_of_task(task),
            "model": self.model or task.model,
            "partition": self.partition or task.partition,
            "batch_size": self.batch_size or task.batch_size,
            "rounds": self.rounds or task.rounds,
            "local_epochs": self.local_epochs or task.local_epochs,
            "site_folds": task.site_folds if self.site_folds < 0 else self.site_folds,
        }
        # In a comparison every strategy has the rate it would have by itself: `for_strategy`.
        if self.lr == 0 and not self.compare:
            sgd = self.optimizer == "sgd" or strategy_traits(self.strategy).plain_sgd
            filled["lr"] = SGD_LR if sgd else task.lr
        if self.augment == "auto":
            filled["augment"] = ",".join(task.augment) or "none"
        if self.imbalance == "auto":
            filled["imbalance"] = task.imbalance
        if self.per_recording < 0:
            filled["per_recording"] = task.per_recording
        if self.dp != NONE:
            filled |= private_defaults(self)
        self._check_baseline_rates()
        self._check_secure_aggregation()
        for name, value in filled.items():
            object.__setattr__(self, name, value)
        if self.site_fold > self.site_folds:
            raise ValueError(
                f"--site-fold is {self.site_fold}, but --site-folds is {self.site_folds}: give a "
                "number from 1 to the number of folds, or 0 for all."
            )
        if self.average_rounds > self.rounds:
            raise ValueError(
                f"--average-rounds is {self.average_rounds}, but --rounds is {self.rounds}: give "
                "at most the number of rounds, or 0 for no mean."
            )
        if self.imbalance in {"thinned", "balanced", "smote"} and not task.exclusive:
            raise ValueError(
                f"--imbalance is {self.imbalance!r}, which is for beats alone: they have one "
                f"class each. For {self.task}: none, oversampled, undersampled, weighted, focal."
            )
        return self

    def _check_secure_aggregation(self) -> None:
        if not self.secure_aggregation:
            return
        comparing = [n for n in self.strategies if strategy_traits(n).needs_each_update]
        if comparing:
            raise ValueError(
                f"--secure-aggregation shows the server sums alone, but --strategy {comparing[0]} "
                "compares the sites' own updates: use a strategy that averages, e.g. fedavg."
            )
        sites = max(1, round(self.fraction * self.clients))
        if sites < FEWEST_SECURE_SITES:
            raise ValueError(
                f"--secure-aggregation of {sites} sites in a round hides nothing: of two, each "
                f"knows the other's update from the sum. At least {FEWEST_SECURE_SITES} must take "
                "part (--clients, --fraction)."
            )
        if self.ray_address:
            raise ValueError(
                "--secure-aggregation runs on this machine alone: leave out --ray-address."
            )

    def _check_baseline_rates(self) -> None:
        for name in (LOCAL, POOLED):
            value = getattr(self, f"lr_{name}")
            if value and not self.compare:
                raise ValueError(
                    f"--lr-{name} is {value}, but there is no {name} training without --compare: "
                    "add it, or leave the rate out."
                )

    def _fill_comparison(self) -> None:
        """Names in order and once each; a `--strategy` that was asked for is among them."""
        if not self.compare:
            return
        names = [name.strip() for name in self.compare.split(",") if name.strip()]
        if not names:
            raise ValueError(
                f"--compare is {self.compare!r}: names of strategies, e.g. {BARE_COMPARE}."
            )
        if "strategy" in self.model_fields_set:
            names.append(self.strategy)
        object.__setattr__(self, "compare", ",".join(dict.fromkeys(names)))
        object.__setattr__(self, "strategy", self.strategies[0])

    @property
    def strategies(self) -> tuple[str, ...]:
        """The strategies to train by."""
        return tuple(self.compare.split(",")) if self.compare else (self.strategy,)

    @property
    def after_pooled(self) -> tuple[str, ...]:
        """The trainings that begin with the model of pooled training, in a comparison."""
        found = [strategy_traits(name).after_pooled for name in self.strategies if self.compare]
        return tuple(name for name in dict.fromkeys(found) if name)

    def for_strategy(self, name: str) -> Self:
        """The settings of one training of a comparison."""
        alone = {"strategy": name, "compare": "", "seeds": "", "lr_local": 0.0, "lr_pooled": 0.0}
        return type(self)(**(self.model_dump() | alone))

    def for_baseline(self, name: str) -> Self:
        """The settings of `local` or `pooled` training: plain, with a rate of its own if given."""
        own = {LOCAL: self.lr_local, POOLED: self.lr_pooled}[name]
        plain = self if self.dp == NONE else self.without_privacy()
        return plain.for_strategy(PLAIN).model_copy(update={"lr": own} if own else {})

    def without_privacy(self) -> Self:
        """The settings of the same run without differential privacy, with its usual defaults."""
        usual = {name: type(self).model_fields[name].default for name in CHANGED_BY_PRIVACY}
        scope = {"dp": NONE, "dp_scope": "all", "noise_multiplier": 0.0}
        return type(self)(**(self.model_dump(exclude_unset=False) | usual | scope))

    def for_seed(self, seed: int) -> Self:
        """The settings of one repetition."""
        return type(self)(**(self.model_dump() | {"seed": seed, "seeds": ""}))

    def for_fold(self, fold: int) -> Self:
        """The settings of the run that tests one fold of each site's patients."""
        return type(self)(**(self.model_dump() | {"site_fold": fold}))


def checked(settings: Mapping[str, Any]) -> RunConfig:
    """The settings as a configuration. `ConfigError` names what is wrong."""
    try:
        return RunConfig(**settings)
    except ValidationError as error:
        raise ConfigError(_one_line(error)) from error


def choices_of(name: str) -> tuple[str, ...]:
    """The values that a setting accepts, if it is one of a few; else none."""
    annotation = RunConfig.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _one_line(error: ValidationError) -> str:
    """Pydantic's first complaint as `--flag is VALUE: what is accepted`."""
    first = error.errors()[0]
    if not first["loc"]:  # a rule between settings: it names them itself
        return first["msg"].removeprefix("Value error, ")
    name, value = str(first["loc"][0]), first["input"]
    if first["type"] == "extra_forbidden":
        return f"{name} is no setting.{did_you_mean(name, RunConfig.model_fields)}"
    wanted = first["msg"][0].lower() + first["msg"][1:]
    guess = did_you_mean(str(value), choices_of(name))
    return f"--{name.replace('_', '-')} is {value!r}: {wanted}.{guess}"
