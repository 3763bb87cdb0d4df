"""HeartFed from Python."""
