"""Readers of recording formats, which check what a file claims before they believe it."""
