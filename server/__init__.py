"""What the coordinator does: run rounds, aggregate, evaluate, keep results."""
