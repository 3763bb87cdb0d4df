"""Readers of recording formats, which check what a file states before they use it."""
