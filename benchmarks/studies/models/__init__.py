"""Every network on every task at equal passes: `python -m benchmarks.studies.models`."""
