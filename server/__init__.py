"""What the coordinator does: run rounds, aggregate, evaluate, keep results."""

import fl  # noqa: F401  (before NumPy: it limits the threads of linear algebra)
