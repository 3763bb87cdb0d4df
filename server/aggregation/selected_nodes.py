"""The nodes of one round, in the form in which Flower's strategies ask for them."""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy


class SelectedNodes(Grid):
    """A grid that shows only the nodes chosen for a round, and carries no message.

    Flower draws nodes with the global `random`, by ids that change from run to run. We draw
    sites by name from a stream of our own, and let the strategy take every node that it sees.
    """

    def __init__(self, nodes: Sequence[int]) -> None:
        self._nodes = list(nodes)

    def get_node_ids(self) -> Iterable[int]:
        return list(self._nodes)

    @property
    def run(self) -> NoReturn:
        self._refuse()

    def set_run(self, run: object) -> NoReturn:
        self._refuse()

    def create_message(self, *given: Any, **named: Any) -> NoReturn:
        self._refuse()

    def push_messages(self, messages: Iterable[Message]) -> NoReturn:
        self._refuse()

    def pull_messages(self, message_ids: Iterable[str]) -> NoReturn:
        self._refuse()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RuntimeError(
            "A strategy may only ask which nodes there are; the round loop sends the messages."
        )


def configure_round(
    strategy: Strategy,
    round_number: int,
    arrays: ArrayRecord,
    config: ConfigRecord,
    nodes: Sequence[int],
) -> dict[int, Message]:
    """The round's requests to train, by node, as Flower's strategy writes them."""
    requests = strategy.configure_train(round_number, arrays, config, SelectedNodes(nodes))
    return {request.metadata.dst_node_id: request for request in requests}
