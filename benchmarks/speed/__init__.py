"""What it costs: seconds, memory and messages, as ratios measured in one run."""
