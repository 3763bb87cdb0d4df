"""One training by one engine in its own process, timed for `overhead.py` and `scale.py`.

    python -m benchmarks.speed.engine_run CASE.json

CASE.json holds an engine (one of ENGINES), a job, and whether the sites are idle: an idle site
replies without training. Writes CASE.moments beside it: when each round began and ended, in
seconds since the epoch.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import fl  # noqa: F401  (first: it turns telemetry off before flwr and ray are imported)
from fl.messages.job import Job
from fl.runs.history_tables import RoundRow
from fl.util.imports.fast_import import without_garbage_collection

ENGINES = ("pool", "local", "ray", "flower", "quickstart")


@dataclass
class Moments:
    """When a training began its first round, ended each round, and had all results."""

    began: float = 0.0
    rounds: list[float] = field(default_factory=list)
    done: float = 0.0

    def training(self, *_: object) -> None:
        """The first round begins."""
        self.began = time.time()

    def round(self, row: RoundRow | None = None) -> None:
        """A round is over: now, or after the seconds in HeartFed's row of the round.

        HeartFed reports a round once it is validated, which is during the next round.
        """
        last = self.rounds[-1] if self.rounds else self.began
        self.rounds.append(time.time() if row is None else last + row.seconds)

    def site(self, number: int, site: str, doing: str, note: str) -> None:
        """Stop at a failed request, because the benchmark would count less work."""
        if note:
            raise RuntimeError(f"round {number}, {site}, {doing}: {note}")

    def finished(self, *_: object) -> None:
        """All results are complete."""
        self.done = time.time()


def train_without_federation(job: Job, site: str, weights: Any, number: int) -> Any:
    """A site's training in one round, without a federation: its weights afterwards."""
    from clients.local_training import network_for
    from clients.simulated_sites import sites_of
    from clients.training_plan import training_plan
    from fl.training.loop import fit as train
    from fl.training.state_dict import get_weights, set_weights
    from partitions.splits import TRAIN

    network = network_for(job.config.model, job.config.task, job.config.freeze)
    set_weights(network, weights)
    train(network, sites_of(job)[site].splits[TRAIN], training_plan(job.config, site, number))
    return get_weights(network)


def validate_without_federation(job: Job, site: str, weights: Any) -> float:
    """A site's validation of weights: the mean loss, nan if it has no validation record."""
    from clients.local_training import network_for
    from clients.simulated_sites import sites_of
    from fl.training.loop import predict
    from fl.training.losses import mean_loss
    from fl.training.state_dict import set_weights
    from partitions.splits import VAL

    network = network_for(job.config.model, job.config.task, job.config.freeze)
    set_weights(network, weights)
    val = sites_of(job)[site].splits[VAL]
    return mean_loss(val.task, val.labels, predict(network, val)) if len(val) else float("nan")


def timed(path: Path, doing: str, site: str, work: Callable[[], Any], before: float = 0.0) -> Any:
    """The result of `work`; its seconds are written as a line of this process's file.

    `before`: seconds of work that was done for it before, and that count as its own.
    """
    began = time.perf_counter() - before
    result = work()
    with (path / f"requests-{os.getpid()}.csv").open("a") as file:
        file.write(f"{doing},{site},{time.perf_counter() - began:.6f}\n")
    return result


def count_steps(job: Job, site: str, steps: int, number: int = 0, began: float = 0.0) -> None:
    """Write how many steps a site trained as a line of this process's file.

    `number` is the round and `began` the moment, where they are known.
    """
    with (Path(job.workspace) / f"visits-{os.getpid()}.csv").open("a") as file:
        file.write(f"{site},{number},{steps},{began:.6f}\n")


class PoolWorker:
    """The state of a process of the bare pool: the job and the initial weights."""

    job: Job
    weights: Any

    @classmethod
    def begin(cls, text: str) -> None:
        """Load everything that the requests need."""
        from clients.simulated_sites import sites_of
        from server.app import initial_weights

        cls.job = Job.model_validate_json(text)
        cls.weights = initial_weights(cls.job)
        sites_of(cls.job)

    @classmethod
    def work(cls, doing: str, site: str, number: int) -> None:
        """Do one request. Nothing is merged: every round starts from the initial weights."""

        def work() -> None:
            if number > 1:
                validate_without_federation(cls.job, site, cls.weights)
            if doing == "train":
                train_without_federation(cls.job, site, cls.weights, number)

        timed(Path(cls.job.workspace), doing, site, work)

    @classmethod
    def answer(cls, doing: str, site: str, number: int) -> None:
        """Answer a request without work."""


def by_pool(job: Job, idle: bool, moments: Moments) -> None:
    """A bare pool of processes: the same requests in the same order, without a federation."""
    from clients.simulated_sites import sites_of
    from partitions.splits import TRAIN
    from server.engines.ray_workers import n_workers

    order = sorted(
        ((len(site.splits[TRAIN]), name) for name, site in sites_of(job).items()),
        key=lambda pair: (-pair[0], pair[1]),
    )
    act = PoolWorker.answer if idle else PoolWorker.work
    with ProcessPoolExecutor(
        n_workers(job.config, len(order)),
        mp_context=get_context("spawn"),
        initializer=PoolWorker.begin,
        initargs=(job.model_dump_json(),),
    ) as pool:
        for waiting in [pool.submit(PoolWorker.answer, "", "", 0) for _ in range(2)]:
            waiting.result()

        def request_all(doing: str, number: int) -> None:
            for waiting in [pool.submit(act, doing, name, number) for n, name in order if n]:
                waiting.result()

        moments.training()
        last = job.config.rounds
        for number in range(1, last + 1):
            request_all("train", number)
            if number == last:
                request_all("val", last + 1)
            moments.round()
        moments.finished()


class TimedClient:
    """HeartFed's client with each request timed."""

    def __init__(self) -> None:
        self._shared = 0.0  # seconds of each request's part of what was done for several at once

    def __call__(self, message: Any, context: Any) -> Any:
        """Answer a request, and note its seconds and steps."""
        from clients.app import app
        from fl.messages.flower_codec import read_job, read_split

        job = read_job(message)
        kind = message.metadata.message_type
        doing = read_split(message)[0] if kind == "evaluate" else kind
        site = str(context.node_config["partition-id"])
        folder = Path(job.workspace)
        reply = timed(folder, doing, site, lambda: app(message, context), self._shared)
        if kind == "train" and reply.has_content():
            count_steps(job, site, int(reply.content["metrics"]["steps"]))
        return reply

    @contextlib.contextmanager
    def sharing(self, messages: Sequence[Any], contexts: Sequence[Any]) -> Iterator[None]:
        """Several requests share work; its seconds are divided among them."""
        from clients.app import app

        began = time.perf_counter()
        with app.sharing(messages, contexts):
            self._shared = (time.perf_counter() - began) / len(messages)
            try:
                yield
            finally:
                self._shared = 0.0


def answer_without_work(message: Any, context: Any) -> Any:
    """Stands for HeartFed's client where sites are idle."""
    from clients.app import app
    from clients.simulated_sites import open_site
    from fl.messages.flower_codec import (
        evaluation_reply,
        read_job,
        read_validate_first,
        read_weights,
        training_reply,
    )
    from fl.messages.payloads import EvaluationReply, TrainingReply

    kind = message.metadata.message_type
    if kind == "query":
        return app(message, context)
    job = read_job(message)
    site = open_site(job, int(context.node_config["partition-id"]))
    nothing = EvaluationReply(
        site=site.name, n_records=0, n_patients=0, loss_sum=0.0, by_source={}, report=None
    )
    if kind == "train":
        trained = TrainingReply(
            site=site.name,
            weights=read_weights(message),
            n_records=1,
            n_patients=1,
            annotated=(1,) * len(site.splits["train"].task.classes),
            recorded=(1,) * site.splits["train"].task.leads,
            loss_sum=0.0,
            n_seen=1,
            steps=1,
        )
        measured = nothing if read_validate_first(message) else None
        return training_reply(trained, message, measured)
    return evaluation_reply(nothing, message)


def by_heartfed(job: Job, idle: bool, moments: Moments) -> None:
    """HeartFed's own engines."""
    from server.engines.ray_workers import WorkerPool

    if job.config.engine != "ray":
        _simulated(job, idle, moments, None)
        return
    # As in `run_sim.py`, Ray starts while the modules are loaded and the recordings are read.
    with closing(WorkerPool(job.config, ["clients.app"])) as pool:
        _simulated(job, idle, moments, pool)
        pool.leave()


def _simulated(job: Job, idle: bool, moments: Moments, pool: Any) -> None:
    with without_garbage_collection():
        from clients.simulated_sites import sites_of
        from server.app import server_app
        from server.engines.simulation import simulate

    listener: Any = moments
    client: Any = answer_without_work if idle else TimedClient()
    n_sites = len(sites_of(job))
    simulate(server_app(listener, moments.finished), client, job, n_sites, pool)


def by_flower(job: Job, idle: bool, moments: Moments, plain: bool = False) -> None:
    """Flower alone, as in its quickstart."""
    from benchmarks.speed.plain_flower import run

    run(job, idle, moments, plain)


RUN_BY_ENGINE: Mapping[str, Callable[[Job, bool, Moments], None]] = {
    "pool": by_pool,
    "local": by_heartfed,
    "ray": by_heartfed,
    "flower": by_flower,
    "quickstart": partial(by_flower, plain=True),
}


def main(argv: Sequence[str]) -> None:
    """Run one case."""
    path = Path(argv[0])
    case = json.loads(path.read_text())
    moments = Moments()
    RUN_BY_ENGINE[case["engine"]](Job.model_validate(case["job"]), case["idle"], moments)
    path.with_suffix(".moments").write_text(json.dumps(vars(moments)))


if __name__ == "__main__":
    main(sys.argv[1:])
