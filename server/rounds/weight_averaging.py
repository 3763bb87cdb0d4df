"""The mean of the last rounds' weights, for `--average-rounds`.

Late rounds lie around a wide minimum of the loss, and their mean is nearer to its middle than any
of them. Source: stochastic weight averaging, Izmailov et al. 2018, arXiv:1803.05407; of a server's
rounds, Caldarola et al. 2022, arXiv:2203.11834. They average along a cyclic or constant learning
rate; here the rounds are those of the run's own schedule. The networks have no batch normalisation,
whose statistics would have to be computed again.
"""

from collections.abc import Collection, Sequence
from typing import Any

from fl.config.run_config import RunConfig
from fl.ecg.tasks import Task
from fl.messages.payloads import EvaluationReply
from fl.runs.history_tables import RoundRow
from fl.training.state_dict import Weights, mean_of_weights
from server.rounds.checkpoints import TrainingProgress
from server.rounds.model_selection import choose_if_best, measure_validation


def remember_round(config: RunConfig, progress: TrainingProgress) -> None:
    """Keep the weights of the last merged round, and drop those of too long ago."""
    if config.average_rounds < 2:
        return
    first = progress.round - config.average_rounds + 1
    kept = {key: value for key, value in progress.recent.items() if _round_of(key) >= first}
    added = {f"{progress.round}/{name}": value for name, value in progress.weights.items()}
    progress.recent = kept | added


def rounds_to_average(progress: TrainingProgress) -> int:
    """How many rounds' weights there are a mean of; 0 where there is none."""
    count = len({_round_of(key) for key in progress.recent})
    return count if count > 1 else 0


def mean_weights(progress: TrainingProgress, unmerged: Collection[str] = ()) -> Weights:
    """The mean over the rounds that are kept, each entry in its own type.

    `unmerged` entries are as in the last round: the server has no others.
    """
    numbers = sorted({_round_of(key) for key in progress.recent})
    rounds = [{n: progress.recent[f"{k}/{n}"] for n in progress.weights} for k in numbers]
    return mean_of_weights(rounds, unmerged)


def finish_mean(
    task: Task,
    strategy: str,
    progress: TrainingProgress,
    mean: Weights,
    evaluated: Sequence[EvaluationReply],
    **row: Any,
) -> RoundRow:
    """The mean is validated: its line of rounds.csv, and it is chosen if no round is better.

    Its round is the last one, whose entries the sites keep as their own; `row` holds what the
    validation does not say. sites.csv has no lines of it.
    """
    count = rounds_to_average(progress)
    validation = measure_validation(task, strategy, progress.round, evaluated)
    choose_if_best(progress, validation, mean, averaged=count)
    line = RoundRow(**validation.figures, **row, train_loss=None, averaged=count)
    progress.round_rows.append(line)
    return line


def _round_of(key: str) -> int:
    return int(key.partition("/")[0])
