"""What a site does when it is asked to evaluate weights on its own records."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from clients.client_state import STEPS
from clients.local_objectives import LOCAL_OBJECTIVES
from clients.local_training import network_for, site_entries_before, site_state
from clients.personalization.own_model import OwnModel
from clients.personalization.own_model_file import write_own_model
from clients.personalization.own_training import keep_training
from clients.private_steps import noised_validation
from clients.shared_evaluation import measure_test, predict_split, predicted_before
from clients.simulated_sites import Site
from clients.validation_reply import Probabilities, loss_sum_of, validation_reply
from fl.config.run_config import LOCAL
from fl.evaluation.decisions.decision_rule import DecisionRule, own_rule
from fl.evaluation.decisions.score_histograms import count_scores
from fl.evaluation.predictions import Predictions, write_predictions
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply
from fl.privacy.differential_privacy.guarantee import is_private
from fl.training.loop import predict
from fl.training.state_dict import Weights, set_weights
from partitions.splits import TEST, VAL


def evaluate_site(
    site: Site,
    job: Job,
    weights: Weights,
    split: str,
    rule: DecisionRule | None,
    round_number: int,
    sharing: int = 1,
) -> EvaluationReply:
    """Evaluate the weights of a round on one split of the site's records.

    On validation the site sends histograms of scores by source; on test it sends its measures,
    and writes its predictions into its own folder. Only a test is decided, so only it needs `rule`.
    `sharing` is that of `train_site`.
    """
    if split != TEST:
        p = predicted_before(site, split)
        if p is None:
            p = predict_split(network_of_round(site, job, weights, round_number), site, split, job)
        reply = validation_reply(site, p, split)
        if is_private(job.config):
            return noised_validation(reply, site, job, round_number, sharing)
        return reply
    if rule is None:
        raise ValueError("a test needs the decision rule of the weights")
    return site_test(site, job, weights, rule, round_number).reply


@dataclass(frozen=True, kw_only=True)
class SiteTest:
    """A site's test: what it sends, and what was really tested and how that decided."""

    reply: EvaluationReply
    own: OwnModel
    rule: DecisionRule


def site_test(
    site: Site, job: Job, weights: Weights, rule: DecisionRule, round_number: int
) -> SiteTest:
    """Test the weights of a round, or what the site makes of them, on its own test records."""
    config = job.config
    p = predicted_before(site, TEST)
    if p is not None:  # a site with a model of its own is not tested together with others
        own = OwnModel(network=network_for(config.model, config.task, config.freeze))
        return SiteTest(reply=_test_reply(site, job, p, rule, own.steps), own=own, rule=rule)
    network = network_of_round(site, job, weights, round_number)
    own = LOCAL_OBJECTIVES[config.strategy].before_test(network, site, job)
    if own.changed:
        rule = rule_of_own_model(rule, site, own, config.device)
        write_own_model(site, job, own, rule, round_number)
    if job.strategy == LOCAL:
        steps = site_state(site, job, STEPS).before(config.rounds + 1)
        keep_training(site, weights, int(steps.get("steps", np.zeros(1))[0]))
    p = predict_split(own.network, site, TEST, job)
    return SiteTest(reply=_test_reply(site, job, p, rule, own.steps), own=own, rule=rule)


def network_of_round(site: Site, job: Job, weights: Weights, round_number: int) -> nn.Module:
    """The network with the weights of a round, and with the site's own entries of that round."""
    config = job.config
    network = network_for(config.model, config.task, config.freeze)
    set_weights(network, weights | site_entries_before(site, job, round_number + 1))
    return network


def rule_of_own_model(sent: DecisionRule, site: Site, own: OwnModel, device: str) -> DecisionRule:
    """How a site's own model decides, from the site's own validation."""
    val = site.splits[VAL]
    p = own.validated
    if p is None:
        p = predict(own.network, val, device=device)
    by_source = {
        source: count_scores(val.labels[rows], p[rows], val.patient_numbers[rows])
        for source, rows in val.rows_of_sources.items()
    }
    return own_rule(sent, by_source, val.task)


def _test_reply(
    site: Site,
    job: Job,
    p: Probabilities,
    rule: DecisionRule,
    steps: int,
) -> EvaluationReply:
    """The site's measures, without classes too rare to leave it; nothing of too few patients."""
    cohort, measures = site.splits[TEST], None
    frequent = cohort.without_rare(site.min_count) if len(cohort) else cohort
    if len(cohort):
        tested = measure_test(site, p, rule, job.config.seed)
        measures = tested.measures
        predictions = Predictions.of_cohort(
            cohort,
            tested.calibrated,
            tested.decided,
            strategy=job.strategy,
            site=site.name,
            split=TEST,
        )
        path = site.folder / f"predictions-{job.strategy}.csv"
        write_predictions(path, predictions, site.synced)
    n_patients = cohort.n_patients
    enough = n_patients >= site.min_count
    return EvaluationReply(
        site=site.name,
        n_records=len(cohort) if enough else 0,
        n_patients=n_patients if enough else 0,
        loss_sum=loss_sum_of(cohort, p, frequent.labels) if enough else 0.0,
        by_source={},
        report=measures if enough else None,
        steps=steps,
    )
