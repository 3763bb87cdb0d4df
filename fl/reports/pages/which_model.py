"""Which of the run's models a hospital should use, from the intervals of its own test patients."""

from dataclasses import dataclass

from fl.config.run_config import LOCAL, NOT_FEDERATED
from fl.config.strategy_traits import strategy_traits, trains_as
from fl.evaluation.bootstrap import MIN_INTERVAL_PATIENTS
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.paired_bootstrap import METRICS
from fl.evaluation.strategy_comparison import ComparisonRow
from fl.evaluation.strategy_names import strategy_name
from fl.reports.number_format import estimate
from fl.reports.pages.sentences import VERDICTS, find, interval, verdict
from fl.reports.pages.site_view import SiteView

SAME_PATIENTS = (
    "The same test patients chose and measured this model: it is a recommendation to the hospital "
    "and no result of the run. With new patients its figures may be lower."
)
TOO_FEW = f"The models are compared from {MIN_INTERVAL_PATIENTS} test patients on."


@dataclass(frozen=True)
class ModelChoice:
    """The model that a hospital should use, and the sentences that say why."""

    model: str  # a strategy, or `local`
    headline: str
    because: tuple[str, ...]
    file: str  # of the model, in the run directory; "" if it has none of its own there


def which_model(view: SiteView) -> ModelChoice | None:
    """The recommended model; None if fewer than two were measured at this hospital.

    The global model, or the hospital's own where the global one is clearly worse; instead of it
    the personalised model with the highest macro-AUROC of those that are clearly better. A model
    is clearly better if the interval of its difference lies above zero in macro-AUROC or macro-F1,
    and in neither below.
    """
    measured = [name for name in view.reports if name not in NOT_FEDERATED or name == LOCAL]
    if not view.compared or len(measured) < 2:
        return None
    general = _general(view, measured)
    start = general or (LOCAL if LOCAL in measured else measured[0])
    because: list[str] = []
    if general and LOCAL in measured:
        rows = _rows(view, general, LOCAL)
        because += map(_sentence, rows)
        start = LOCAL if _direction(rows) == "loss" else general
    better = []
    for name in measured:
        if strategy_traits(name).own_models and name != start:
            rows = _rows(view, name, start)
            because += map(_sentence, rows)
            better += [name] if _direction(rows) == "gain" else []
    chosen = max(better, key=lambda name: view.reports[name].macro_auroc.value or 0, default=start)
    n = view.reports[chosen].n_patients
    levels = tuple(_level(name, view.reports[name]) for name in measured)
    reasons = (f"On {n} test patients: {'; '.join(levels)}.", *because, SAME_PATIENTS)
    return ModelChoice(
        model=chosen,
        headline=_headline(view, chosen, general, n),
        because=reasons if n >= MIN_INTERVAL_PATIENTS else (TOO_FEW,),
        file=view.model_files.get(chosen, ""),
    )


def _general(view: SiteView, measured: list[str]) -> str:
    """The federation's one model for all: that of the page, else that of which others are made."""
    made_of = [trains_as(name) for name in measured if strategy_traits(name).own_models]
    rest = [name for name in measured if name != LOCAL]
    for name in (*made_of, view.main, *rest):
        if name in rest and not strategy_traits(name).own_models:
            return name
    return ""


def _rows(view: SiteView, name: str, against: str) -> list[ComparisonRow]:
    found = (find(view.differences, strategy=name, against=against, metric=m) for m in METRICS)
    return [row for row in found if row]


def _direction(rows: list[ComparisonRow]) -> str:
    """`gain` or `loss` if the intervals that exclude zero agree, else `none`."""
    clear = {verdict(row) for row in rows} & {"gain", "loss"}
    return clear.pop() if len(clear) == 1 else "none"


def _headline(view: SiteView, chosen: str, general: str, n: int) -> str:
    use = f"{view.name} should use {_described(chosen, general)}"
    if strategy_traits(chosen).own_models and chosen != general:
        return f"{use}: there is evidence that it is better here"
    if chosen == LOCAL and general:
        return f"{use}: there is evidence that the global model is worse here"
    if n < MIN_INTERVAL_PATIENTS:
        return f"{use}: {n} test patients are too few to tell the models apart"
    return f"{use}: there is no evidence that another one is better here"


def _described(name: str, general: str) -> str:
    if name == LOCAL:
        return f"its own model ({strategy_name(name)})"
    if name == general:
        return f"the global model ({strategy_name(name)})"
    return f"the federation's model adapted to it ({strategy_name(name)})"


def _sentence(row: ComparisonRow) -> str:
    return (
        f"{strategy_name(row.strategy)} compared with {strategy_name(row.against)}, "
        f"{METRICS[row.metric]}: {interval(row)}, {VERDICTS[verdict(row)]}."
    )


def _level(name: str, found: GroupMeasures) -> str:
    """`FedAvg macro-F1 .71 [.52, .84], macro-AUROC .89 [.80, .94]`"""
    values = (f"{text} {estimate(found.estimate(m))}" for m, text in METRICS.items())
    return f"{strategy_name(name)} {', '.join(values)}"
