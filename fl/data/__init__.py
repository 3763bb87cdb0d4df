"""Recordings become arrays: the preprocessed cache, cohorts and their batches."""
