"""Trainings that meet no other: every site by itself, and all records as if in one hospital.

They go through the same visits as a federation's rounds (`clients/`), on the same schedule, and
choose their best round and thresholds by the same rule from validation alone.
"""

import math
from collections.abc import Callable, Generator, Mapping
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
from fl.training.state_dict import Weights
from fl.util.errors import FederationError
from partitions.splits import TEST, VAL
from server.baselines.concurrent_trainings import Answers, Requests, Steps
from server.rounds.checkpoints import TrainingProgress, save_progress, save_trained
from server.rounds.final_evaluation import ServerMeasures, evaluate_server_groups, test_row
from server.rounds.model_selection import mean_loss, validate_round
from server.rounds.reply_validation import (
    validate_counts,
    validate_histograms,
    validate_report,
    validate_weights,
)
from server.rounds.round_loop import out_of_patience
from server.rounds.site_requests import Federation

Reply = TypeVar("Reply")
Ask = Callable[[int], Message]
ATTEMPTS = 2  # a worker that died has been replaced by then


@dataclass(kw_only=True)
class BaselineTraining:
    """One such training: who trains, whose records measure it, and how far it is."""

    name: str  # of its weights and checkpoints: pooled, local-site-1
    federation: Federation  # its job is that of `local` or `pooled`
    hello: SiteInfo  # of who trains
    nodes: Mapping[str, int]  # sites whose validation and test records measure it
    progress: TrainingProgress
    history: Callable[[], None]  # writes the tables anew
    load: float  # records per round; what a round has really seen, once one is over
    reports: dict[str, GroupMeasures | None] = field(default_factory=dict)  # test, by site
    held: tuple[ServerMeasures, Predictions] | None = None

    @property
    def trains(self) -> str:
        """Name of who trains."""
        return self.hello.site

    @property
    def on_server(self) -> tuple[ServerMeasures, Predictions]:
        """Test on the records that no site holds; there is none before the training is over."""
        if self.held is None:
            raise ValueError(f"{self.name} is not over: it has no test yet")
        return self.held

    @property
    def job(self) -> Job:
        return self.federation.job

    def left(self) -> float:
        """Records left to see."""
        return (self.job.config.rounds - self.progress.round) * self.load

    def steps(self) -> Steps:
        """All rounds that are left, then test."""
        config, progress = self.job.config, self.progress
        while progress.round < config.rounds and not out_of_patience(config, progress):
            yield from self._round(progress.round + 1)
        kinds = ("best", "last") if self.trains == POOLED else ("best",)
        save_trained(self.federation.folder, self.job, self.name, progress, kinds)
        evaluated, _ = yield from self._evaluate(progress.best_weights, progress.best_round, TEST)
        self.reports = {e.site: e.report for e in evaluated}
        label = self.job.strategy
        progress.sites += [test_row(label, progress.best_round, e) for e in evaluated]
        self.held = evaluate_server_groups(
            self.job, self.name, progress.best_weights, progress.thresholds
        )

    def _round(self, number: int) -> Steps:
        progress = self.progress
        arrays = to_array_record(progress.weights)
        (trained,), seconds = yield from self._ask(
            number,
            "train",
            # Any node can act for all sites: in a simulation each sees the whole cache.
            {self.trains: min(self.nodes.values())},
            lambda node: training_request(self.job, arrays, node, number),
            self._read_trained,
        )
        progress.weights = dict(trained.weights)
        evaluated, more = yield from self._evaluate(progress.weights, number, VAL)
        progress.round, progress.steps = number, progress.steps + trained.steps
        self.load = trained.n_seen
        measured = validate_round(self.federation.task, self.job.strategy, progress, evaluated)
        row = RoundRow(
            **measured,
            seconds=round(seconds + more, 3),
            participants=1,
            failures=sum(f["round"] == number for f in progress.failures),
            train_loss=mean_loss([(trained.loss_sum, trained.n_seen)]),
            n_train=trained.n_seen,
            n_val=sum(e.n_records for e in evaluated),
        )
        progress.rounds.append(row)
        save_progress(self.federation.folder / "checkpoint" / self.name, progress)
        self.history()
        self._tell(row)

    def _tell(self, row: RoundRow) -> None:
        listener, config = self.federation.listener, self.job.config
        if self.trains == POOLED:
            listener.round(row)
        else:
            last = row.round == config.rounds or out_of_patience(config, self.progress)
            listener.baseline_round(self.trains, row, last)

    def _evaluate(
        self, weights: Weights, number: int, split: str
    ) -> Generator[Requests, Answers, tuple[list[EvaluationReply], float]]:
        arrays = to_array_record(weights)
        thresholds = self.progress.thresholds if split == TEST else None
        return (
            yield from self._ask(
                number,
                split,
                self.nodes,
                lambda node: evaluation_request(self.job, arrays, node, number, split, thresholds),
                self._read_evaluated,
            )
        )

    def _ask(
        self,
        number: int,
        doing: str,
        nodes: Mapping[str, int],
        request: Ask,
        read: Callable[[Message, str], Reply],
    ) -> Generator[Requests, Answers, tuple[list[Reply], float]]:
        """Answers in order of name, and their seconds. Who fails is named and asked once more."""
        found: dict[str, Reply] = {}
        total = 0.0
        for _ in range(ATTEMPTS):
            left = {node: name for name, node in nodes.items() if name not in found}
            answers = yield [request(node) for node in left]
            total += math.fsum(seconds for _, seconds in answers)
            failed = {}
            for reply, _ in answers:
                name = left[reply.metadata.src_node_id]
                try:
                    found[name] = read(reply, name)
                except (KeyError, ValueError, TypeError) as error:
                    failed[name] = f"{doing}: {error}"
            for name, reason in sorted(failed.items()):
                self._fail(number, name, reason)
            if not failed:
                return [found[name] for name in sorted(found)], total
        reasons = "; ".join(f"{name}: {reason}" for name, reason in sorted(failed.items()))
        raise FederationError(f"Round {number} of {self.name}, asked twice. {reasons}")

    def _fail(self, number: int, name: str, reason: str) -> None:
        self.progress.failures.append({"round": number, "site": name, "reason": reason})
        self.federation.listener.site(number, name, "failed", f"{self.job.strategy}: {reason}")

    def _read_trained(self, reply: Message, name: str) -> TrainingReply:
        _raise_error(reply)
        trained = read_training_reply(reply)
        validate_weights(trained.weights, self.progress.weights)
        validate_counts(trained, name, self.federation.task)
        return trained

    def _read_evaluated(self, reply: Message, name: str) -> EvaluationReply:
        _raise_error(reply)
        evaluated = read_evaluation_reply(reply)
        validate_histograms(evaluated, len(self.federation.task.classes))
        validate_report(evaluated.report)
        return evaluated


def _raise_error(reply: Message) -> None:
    if reply.has_error():
        raise ValueError(reply.error.reason or "failed")
