"""What Flower must know of this process before it can make a message here.

The server's half of a Flower `Message` takes the number of the run, of the task and of the sender
from `TaskIdentity`, which Flower's own engines fill in and nothing documents. Without all three no
message can be made: neither by us nor by Flower's strategies. Our own grids therefore fill it in.
"""

from fl.util.tested_versions import is_tested

FLOWER_VERSIONS = ("1.41.0",)  # tested
SERVER_NODE = 1  # Flower's own number for the SuperLink


def own_grids_work(otherwise: str) -> bool:
    """Whether our own grids work with the installed Flower; if not, one line says `otherwise`."""
    return is_tested("flwr", FLOWER_VERSIONS, otherwise)


def identify_server() -> None:
    """Let this process make messages, as the server of the only run."""
    from flwr.supercore.task_identity import TaskIdentity  # here: other versions may not have it

    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, SERVER_NODE
