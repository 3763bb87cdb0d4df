"""Rhythm examples: a recording or its 10 s windows, and what is measured on their heartbeats."""
