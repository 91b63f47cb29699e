"""The report of a run: one self-contained HTML file, made from the run folder alone."""

from twin.report.build import build_report
from twin.report.data import CaseCost, DeviceRow, PartyRow, ReportData

__all__ = ["CaseCost", "DeviceRow", "PartyRow", "ReportData", "build_report"]
