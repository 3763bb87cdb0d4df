"""What every site and the server share: data, models, training, metrics, reports."""

import os

from fl.util.imports.scipy_internals import leave_notes_out
from fl.util.imports.torch_internals import postpone_tables

# Set before flwr or ray is imported anywhere: neither may report usage to its makers.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Without this Ray warns that it will one day stop hiding GPUs from workers that asked for none.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
# Set before NumPy loads OpenBLAS. Its threads wait by spinning, so a small product takes ten times
# as long where another process has the other core; and a last digit may depend on their number.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Before torch and scipy are imported anywhere: every process of a run loads them.
postpone_tables()
leave_notes_out()

__version__ = "0.1.0"
