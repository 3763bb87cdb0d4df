"""Writes recordings of hospitals' formats as WFDB records, without their patients' fields."""
