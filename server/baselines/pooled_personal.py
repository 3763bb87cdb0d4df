"""Pooled training, and then at each site what a strategy does there after its last round.

The fair rival of a strategy whose sites end with models of their own: these begin with the best
model that all records in one place give.
"""

from dataclasses import replace

import numpy as np

from fl.config.run_config import POOLED
from fl.config.strategy_traits import POOLED_PERSONAL, strategy_traits
from fl.evaluation.decisions.decision_rule import DecisionRule
from fl.evaluation.predictions import Predictions
from fl.training.state_dict import load_weights
from fl.util.errors import FederationError
from partitions.partition import CENTRAL, UNSEEN
from partitions.splits import VAL
from server.rounds.checkpoints import TrainingProgress, save_trained
from server.rounds.final_evaluation import across_sites, final_measures, site_predictions
from server.rounds.site_requests import Federation
from server.rounds.training_results import TrainingResult, load_result, save_result


def personalised_after_pooled(federation: Federation, pooled: TrainingResult) -> TrainingResult:
    """The training `pooled-personal`: one request to each site with the best pooled weights.

    What the server measures itself, on records of no site, is of pooled training.
    """
    folder, task = federation.folder, federation.task
    if done := load_result(folder, task, POOLED_PERSONAL):
        return done
    config = federation.job.config
    (strategy,) = [name for name in config.strategies if strategy_traits(name).after_pooled]
    job = federation.job.model_copy(
        update={"config": config.for_strategy(strategy), "strategy": POOLED_PERSONAL}
    )
    progress = _end_of_pooled(federation, pooled)
    federation.listener.training(POOLED_PERSONAL, 0, list(federation.sites.values()))
    sites = final_measures(replace(federation, job=job), progress)
    save_trained(folder, job, POOLED_PERSONAL, progress, ("best",))
    at_sites = site_predictions(folder, task, POOLED_PERSONAL, sites)
    validated = [row for row in pooled.site_rows if row.split == VAL]
    rows = [replace(row, strategy=POOLED_PERSONAL) for row in validated]
    result = TrainingResult(
        name=POOLED_PERSONAL,
        summary=pooled.summary.model_copy(
            update={"sites": sites, "gradient_steps": progress.steps, **across_sites(sites)}
        ),
        round_rows=[replace(row, strategy=POOLED_PERSONAL) for row in pooled.round_rows],
        site_rows=[*rows, *progress.site_rows],
        failures=progress.failures,
        predictions=Predictions.joined([_at_server(pooled.predictions), at_sites], task.classes),
    )
    return save_result(folder, result)


def _end_of_pooled(federation: Federation, pooled: TrainingResult) -> TrainingProgress:
    """The weights and the rule that pooled training ended with, and no history but its steps."""
    task, chosen = federation.task, pooled.summary
    if chosen.thresholds is None or chosen.calibration is None or chosen.best_round is None:
        raise FederationError(f"{federation.folder}: pooled training has no decision rule.")
    weights = load_weights(federation.folder / "weights" / f"{POOLED}-best.safetensors")
    return TrainingProgress(
        weights=weights,
        best_weights=weights,
        best_round=chosen.best_round,
        rule=DecisionRule(
            thresholds=chosen.thresholds,
            calibration=chosen.calibration,
            alone=task.alone,
            otherwise=task.otherwise,
        ),
        steps=chosen.gradient_steps or 0,
    )


def _at_server(pooled: Predictions) -> Predictions:
    """The same answers to the records of no site, under this training's name."""
    own = pooled.take(np.isin(pooled.site, (CENTRAL, UNSEEN)))
    return replace(own, strategy=np.full(len(own), POOLED_PERSONAL))
