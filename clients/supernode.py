"""Flower's SuperNode as a programme that ends when its work ends.

Flower serves the visits' process from a thread of its own, which keeps the process when the main
thread has ended for a reason that Flower did not foresee: it would then look well, and be deaf.
"""

import traceback

from flwr.supernode.cli.flower_supernode import flower_supernode

from fl.processes import leave


def main() -> int:
    """What Flower's own programme returns: 0 if it was asked to end, or what it signed is refused.

    Flower interrupts itself when it is refused, and from two threads at once: a second interrupt,
    while it leaves for the first, is the same end.
    """
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
    leave(main())
