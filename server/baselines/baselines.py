"""Trainings that are not federated: every site alone, and all records as if in one hospital.

Their requests are those of a federation's rounds (`clients/`), on the same schedule, and their
best round and thresholds are chosen by the same rule from validation alone.
"""

import math
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import TypeVar

from flwr.app import Message

from fl.config.run_config import POOLED
from fl.evaluation.group_evaluation import GroupMeasures
from fl.evaluation.predictions import Predictions
from fl.messages.flower_arrays import to_array_record
from fl.messages.flower_codec import (
    evaluation_request,
    read_evaluation_reply,
    read_training_reply,
    training_request,
)
from fl.messages.job import Job
from fl.messages.payloads import EvaluationReply, SiteInfo, TrainingReply
from fl.runs.history_tables import RoundRow
from fl.training.frozen import frozen_entries
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from partitions.splits import TEST, VAL
from server.baselines.concurrent_trainings import Answers, Requests, Steps
from server.rounds.checkpoints import TrainingProgress, save_progress, save_trained
from server.rounds.evaluation_validation import validate_evaluation
from server.rounds.final_evaluation import (
    ServerMeasures,
    measure_in_background,
    site_test_row,
)
from server.rounds.model_selection import mean_loss, validate_round
from server.rounds.reply_validation import validate_counts, validate_weights
from server.rounds.round_loop import out_of_patience
from server.rounds.site_requests import TRAINING, Federation, refusal
from server.rounds.weight_averaging import (
    finish_mean,
    mean_weights,
    remember_round,
    rounds_to_average,
)

Reply = TypeVar("Reply")
MakeRequest = Callable[[int], Message]  # for a node
ReadReply = Callable[[Message, str], Reply]  # of a site
ATTEMPTS = 2  # by the second one, a worker that died has been replaced


@dataclass(kw_only=True)
class BaselineTraining:
    """One such training: who trains, whose records validate and test it, and how far it is."""

    name: str  # of its weights and checkpoints: pooled, local-site-1
    federation: Federation  # its job is that of `local` or `pooled`
    trainee: SiteInfo  # the site that trains, or `pooled`
    nodes: Mapping[str, int]  # sites whose validation and test records are used -> node
    progress: TrainingProgress
    write_history: Callable[[], None]  # writes rounds.csv and sites.csv again
    load: float  # records of a round; what a round has really seen, once one is over
    reports: dict[str, GroupMeasures | None] = field(default_factory=dict)  # test, by site
    testing: Executor  # of the server's own tests
    server_test: Future[tuple[ServerMeasures, Predictions]] | None = None  # once it is over

    @property
    def trains(self) -> str:
        """Name of who trains."""
        return self.trainee.site

    @property
    def at_server(self) -> tuple[ServerMeasures, Predictions]:
        """Test on the records that no site holds; there is none before the training is over."""
        if self.server_test is None:
            raise ValueError(f"{self.name} is not over: it has no test yet")
        return self.server_test.result()

    @property
    def job(self) -> Job:
        return self.federation.job

    def left(self) -> float:
        """Records that are still to be trained on."""
        return (self.job.config.rounds - self.progress.round) * self.load

    def steps(self) -> Steps:
        """All rounds that are left, then test."""
        config, progress = self.job.config, self.progress
        while progress.round < config.rounds and not out_of_patience(config, progress):
            yield from self._round(progress.round + 1)
        if rounds_to_average(progress):
            yield from self._validate_mean()
        kinds = ("best", "last") if self.trains == POOLED else ("best",)
        save_trained(self.federation.folder, self.job, self.name, progress, kinds)
        evaluated, _ = yield from self._evaluate(progress.best_weights, progress.best_round, TEST)
        self.reports = {reply.site: reply.report for reply in evaluated}
        label, best = self.job.strategy, progress.best_round
        progress.site_rows += [site_test_row(label, best, reply) for reply in evaluated]
        # Not here: no site is sent a request while the server tests a model.
        self.server_test = measure_in_background(
            self.testing, self.job, self.name, progress.best_weights, progress.chosen_rule
        )

    def _round(self, number: int) -> Steps:
        progress = self.progress
        trained, train_seconds = yield from self._train(number)
        progress.weights = {**progress.weights, **trained.weights}  # frozen ones are not sent back
        evaluated, val_seconds = yield from self._evaluate(progress.weights, number, VAL)
        progress.round, progress.steps = number, progress.steps + trained.steps
        remember_round(self.job.config, progress)
        self.load = trained.n_seen
        validation = validate_round(self.federation.task, self.job.strategy, progress, evaluated)
        row = RoundRow(
            **validation,
            seconds=round(train_seconds + val_seconds, 3),
            participants=1,
            failures=sum(f["round"] == number for f in progress.failures),
            train_loss=mean_loss([(trained.loss_sum, trained.n_seen)]),
            n_train=trained.n_seen,
            n_val=sum(reply.n_patients for reply in evaluated),
        )
        progress.round_rows.append(row)
        save_progress(self.federation.folder / "checkpoint" / self.name, progress)
        self.write_history()
        self._report_round(row)

    def _validate_mean(self) -> Steps:
        """As `validate_mean` of a federation's rounds."""
        progress, config = self.progress, self.job.config
        mean = mean_weights(progress, frozen_entries(config.freeze, config.model, config.task))
        known = len(progress.failures)
        evaluated, seconds = yield from self._evaluate(mean, progress.round, VAL)
        row = finish_mean(
            self.federation.task,
            self.job.strategy,
            progress,
            mean,
            evaluated,
            seconds=round(seconds, 3),
            participants=1,
            failures=len(progress.failures) - known,
            n_val=sum(reply.n_patients for reply in evaluated),
        )
        self.write_history()
        self._report_round(row)

    def _report_round(self, row: RoundRow) -> None:
        listener, config = self.federation.listener, self.job.config
        if self.trains == POOLED:
            listener.round(row)
        else:
            last = row.round == config.rounds or out_of_patience(config, self.progress)
            listener.baseline_round(self.trains, row, last)

    def _train(self, number: int) -> Generator[Requests, Answers, tuple[TrainingReply, float]]:
        arrays = to_array_record(self.progress.weights)
        (trained,), seconds = yield from self._ask(
            number,
            TRAINING,
            # Any node can act for all sites: in a simulation each sees the whole cache.
            {self.trains: min(self.nodes.values())},
            lambda node: training_request(self.job, arrays, node, number),
            self._read_trained,
        )
        return trained, seconds

    def _evaluate(
        self, weights: Weights, number: int, split: str
    ) -> Generator[Requests, Answers, tuple[list[EvaluationReply], float]]:
        arrays = to_array_record(weights)
        rule = self.progress.chosen_rule if split == TEST else None
        return (
            yield from self._ask(
                number,
                split,
                self.nodes,
                lambda node: evaluation_request(self.job, arrays, node, number, split, rule),
                lambda reply, name: self._read_evaluated(reply, name, split),
            )
        )

    def _ask(
        self,
        number: int,
        doing: str,
        nodes: Mapping[str, int],
        make_request: MakeRequest,
        read: ReadReply[Reply],
    ) -> Generator[Requests, Answers, tuple[list[Reply], float]]:
        """Answers in order of site name, and their seconds. A site that fails is asked again."""
        read_replies: dict[str, Reply] = {}
        seconds = 0.0
        for _ in range(ATTEMPTS):
            left = {node: name for name, node in nodes.items() if name not in read_replies}
            answers = yield [make_request(node) for node in left]
            seconds += math.fsum(taken for _, taken in answers)
            failed = {}
            for reply, _ in answers:
                name = left[reply.metadata.src_node_id]
                try:
                    read_replies[name] = read(reply, name)
                except MemoryError:  # of this machine
                    raise
                except Exception as error:
                    failed[name] = f"{doing}: {refusal(error)}"
            for name, reason in sorted(failed.items()):
                self._record_failure(number, name, reason)
            if not failed:
                return [read_replies[name] for name in sorted(read_replies)], seconds
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(failed.items()))
        raise FederationError(f"Round {number} of {self.name}, asked twice. {reasons}")

    def _record_failure(self, number: int, name: str, reason: str) -> None:
        self.progress.failures.append({"round": number, "site": name, "reason": reason})
        self.federation.listener.site(number, name, "failed", f"{self.job.strategy}: {reason}")

    def _read_trained(self, reply: Message, name: str) -> TrainingReply:
        _raise_error(reply)
        trained = read_training_reply(reply)
        config = self.job.config
        frozen = frozen_entries(config.freeze, config.model, config.task)
        sent = self.progress.weights
        validate_weights(trained.weights, {k: v for k, v in sent.items() if k not in frozen})
        validate_counts(trained, self.trainee, self.federation.task)
        return trained

    def _read_evaluated(self, reply: Message, name: str, split: str) -> EvaluationReply:
        _raise_error(reply)
        info, task = self.federation.sites[name], self.federation.task
        return validate_evaluation(read_evaluation_reply(reply), info, task, split)


def _raise_error(reply: Message) -> None:
    if reply.has_error():
        raise ValueError(reply.error.reason or "failed")
