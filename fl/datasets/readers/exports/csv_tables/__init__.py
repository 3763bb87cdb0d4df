"""Reads recordings from tables of text, with one column per lead and one line per sample."""
