"""Attacks on what a federation shows: who trained, and what a recording looks like."""
