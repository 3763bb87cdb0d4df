"""Uploads: received in memory, read, answered by the models, kept for a while and drawn."""
