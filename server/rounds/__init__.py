"""The rounds of one federated training."""
