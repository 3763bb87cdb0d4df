"""Recordings as recorders, archives and spreadsheets export them, and their way to WFDB."""
