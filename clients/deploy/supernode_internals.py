"""Flower's SuperNode as a programme that ends, to be started again, where Flower's would stay deaf.

Flower serves the visits' process from a thread of its own, which keeps the process when the main
thread has ended for a reason that Flower did not foresee: it looks well, and takes no message.

And a message that was still arriving when its run ended (its coordinator was killed, say) leaves
a task that is never whole. A minute later Flower answers it in the place of a later message, and
from then on every reply waits until the next message comes.
"""

import time
import traceback
from types import SimpleNamespace
from typing import Any

from flwr.supernode import start_client_internal as flower
from flwr.supernode.cli.flower_supernode import flower_supernode
from flwr.supernode.nodestate import NodeState

from fl.util.child_process import exit_immediately

LOOK = 0.1  # seconds between looks for a reply; Flower's half a second is paid twice a round
_pull = flower._pull_and_store_message


class IncompleteMessage(Exception):
    """A message began to arrive, and will not be whole."""


def pull(*, state: NodeState, **rest: Any) -> int | None:
    """Flower's step, the run of the message that arrived. `IncompleteMessage`: a part did."""
    tasks = len(state.get_tasks())
    run = _pull(state=state, **rest)
    if run is None and len(state.get_tasks()) > tasks:
        raise IncompleteMessage("a message did not arrive whole; the SuperNode begins anew")
    return run


def main() -> int:
    """What Flower's own programme returns: 0 if it was asked to end, or what it signed is refused.

    Flower interrupts itself when it is refused, and from two threads at once: a second interrupt,
    while it leaves for the first, is the same end.
    """
    pauses = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, LOOK)))
    vars(flower).update(_pull_and_store_message=pull, time=pauses)
    try:
        flower_supernode()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 0
    except Exception:
        traceback.print_exc()
    return 1


if __name__ == "__main__":
    exit_immediately(main())
