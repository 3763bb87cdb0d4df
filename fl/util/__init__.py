"""Errors, files written whole, named random streams, waiting, child processes: knows no ECG."""
