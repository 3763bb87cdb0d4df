"""Reads the formats in which hospitals' recorders and archives export ECGs."""
