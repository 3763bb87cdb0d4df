"""The least that a federation can be: two processes, a counter, and sums of weights.

Each process takes the next site that nobody has taken, and adds up what its sites trained. Only
the sum goes back, and the sums are divided once. Nothing is checked, kept or recovered.
"""

import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.speed.engine_run import Moments
from benchmarks.speed.peer_adapters.site_work import SiteWork, read_case, write_end
from fl.training.state_dict import Weights, fresh_weights, set_weights


def work(connection: Connection, next_site: Any, path: str) -> None:
    """A process of the pool: trains sites until the round has no more, then sends their sum."""
    own = SiteWork(read_case(path))
    connection.send(None)
    while (request := connection.recv()) is not None:
        number, weights = request
        total, records = {name: value * 0.0 for name, value in weights.items()}, 0
        while (place := _take(next_site)) < len(own.names):
            site = own.names[place]
            set_weights(own.network, weights)
            own.visit(site, number)
            for name, value in own.network.state_dict().items():
                total[name] += value.numpy() * own.records(site)
            records += own.records(site)
        connection.send((total, records))


def _take(next_site: Any) -> int:
    with next_site.get_lock():
        taken: int = next_site.value
        next_site.value += 1
    return taken


def merged(replies: list[tuple[Weights, int]]) -> Weights:
    """The mean over records of what the processes added up."""
    records = sum(count for _, count in replies)
    return {name: sum(total[name] for total, _ in replies) / records for name in replies[0][0]}


def main(path: str) -> None:
    """Run all rounds."""
    job, moments, context = read_case(path), Moments(), get_context("spawn")
    next_site, ends = context.Value("i", 0), []
    for _ in range(job.config.workers):
        own, other = context.Pipe()
        context.Process(target=work, args=(other, next_site, path), daemon=True).start()
        ends.append(own)
    weights = fresh_weights(job.config)
    for end in ends:
        end.recv()
    moments.training()
    for number in range(1, job.config.rounds + 1):
        next_site.value = 0
        for end in ends:
            end.send((number, weights))
        weights = merged([end.recv() for end in ends])
        moments.round()
    moments.finished()
    for end in ends:
        end.send(None)
    write_end(path, job, moments, weights)


if __name__ == "__main__":
    main(sys.argv[1])
