"""The run directory and the results in it."""
