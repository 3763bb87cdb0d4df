"""Reads every record once and reports which are usable, which are not, and why."""

from fl.datasets.data_report.record_check import CheckReport, HasWaveform, check
from fl.datasets.data_report.source_report import SourceReport

__all__ = ["CheckReport", "HasWaveform", "SourceReport", "check"]
