"""A run with differential privacy: the last round counts, and nothing leaves without noise."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.rounds import digest, read_table, run

from clients import private_steps
from clients.app import app as client_app
from clients.simulated_sites import Site
from fl.config.config_file import load_config
from fl.evaluation.decisions.score_histograms import count_scores
from fl.messages.flower_codec import read_evaluation_reply, read_training_reply
from fl.messages.payloads import EvaluationReply, SourceValidation
from fl.privacy.differential_privacy.gaussian_noise import seeded_noise
from fl.privacy.differential_privacy.guarantee import with_noise
from fl.privacy.differential_privacy.private_histograms import noised_histograms

PRIVATE = {"dp": "patient", "epsilon": 8.0, "rounds": 2, "local_epochs": 1, "model": "cnn_simple"}


def private_job(make_job, sites=3, **settings):
    job = make_job(sites, **(PRIVATE | settings))
    return job.model_copy(update={"config": with_noise(job.config)})


class Listening:
    """The clients, and what they answered."""

    def __init__(self):
        self.trained, self.validated = [], []

    def __call__(self, message, context):
        reply = client_app(message, context)
        split = message.content.config_records["config"].get("split")
        if message.metadata.message_type == "train":
            self.trained.append(read_training_reply(reply))
        elif split == "val":
            self.validated.append(read_evaluation_reply(reply))
        return reply


def test_the_last_round_counts_and_is_the_only_one_that_is_validated(make_job):
    job, client = private_job(make_job), Listening()
    run(job, client)
    rows = read_table(job, "rounds.csv")
    assert [row["val_macro_auroc"] == "n/a" for row in rows] == [True, False]
    assert all(row["train_loss"] == row["val_loss"] == "n/a" for row in rows)
    assert len(client.validated) == 3
    last = Path(job.workspace) / "weights"
    best, final = (last / f"fedavg-{name}.safetensors" for name in ("best", "last"))
    assert best.read_bytes() == final.read_bytes()


def test_no_loss_and_no_count_of_classes_or_leads_leaves_and_histograms_are_noised(make_job):
    client = Listening()
    run(private_job(make_job), client)
    for reply in client.trained:
        assert reply.loss_sum == 0
        assert set(reply.annotated) == set(reply.recorded) == {reply.n_patients}
    for found in client.validated:
        assert found.loss_sum == 0
        first, *others = (source.scores for source in found.by_source.values())
        assert not first.patients.any()
        assert (first.positive < 0).any()
        assert not any(counts.any() for scores in others for counts in vars(scores).values())


def test_validation_is_noised_once_for_all_sources_of_a_site(tmp_path, monkeypatch):
    """Without noise the first source has the sum, and the others have their numbers of patients."""
    monkeypatch.setattr(private_steps, "validation_noise", lambda config: 0.0)
    rng = np.random.default_rng(0)
    scores = [
        count_scores(rng.integers(-1, 2, (20, 9)), rng.random((20, 9)), np.arange(20).astype(str))
        for _ in range(2)
    ]
    reply = EvaluationReply(
        site="site-1",
        n_records=40,
        n_patients=40,
        loss_sum=3.0,
        by_source={
            name: SourceValidation(n_patients=20, scores=one)
            for name, one in zip(("b", "a"), scores, strict=True)
        },
        report=None,
    )
    job = SimpleNamespace(
        config=load_config({"task": "rhythm-signal"}), deployed=False, strategy="fedavg"
    )
    site = Site(name="site-1", splits={}, folder=tmp_path)
    found = private_steps.noised_validation(reply, site, job, 3, sharing=1)
    whole = scores[0] + scores[1]
    coarse = noised_histograms(whole, 0.0, seeded_noise(0))
    assert list(found.by_source) == ["a", "b"]
    assert [source.n_patients for source in found.by_source.values()] == [20, 20]
    np.testing.assert_array_equal(found.by_source["a"].scores.positive, coarse.positive)
    np.testing.assert_array_equal(found.by_source["a"].scores.negative, coarse.negative)
    assert not found.by_source["b"].scores.negative.any()


def test_a_private_run_repeats_bit_for_bit_and_with_another_epsilon_differs(make_job):
    first, again = (private_job(make_job, 2, name=name, rounds=1) for name in ("a", "b"))
    other = private_job(make_job, 2, name="c", rounds=1, epsilon=1.0)
    for job in (first, again, other):
        run(job)
    assert digest(first) == digest(again) != digest(other)


def test_under_secure_aggregation_sites_share_the_noise_of_one_step(make_job):
    job = private_job(make_job, secure_aggregation=True)
    run(job)
    rows = read_table(job, "rounds.csv")
    assert rows[-1]["val_macro_auroc"] != "n/a"
    assert [row["participants"] for row in rows] == ["3", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["fedadam", "fedmedian", "personal"])
def test_other_strategies_train_too(make_job, strategy):
    job = private_job(make_job, strategy=strategy, rounds=1, personal_epochs=1)
    run(job)
    (row,) = read_table(job, "rounds.csv")
    assert 0 <= float(row["val_macro_auroc"]) <= 1
