"""The report of a model as one HTML page, made from its JSON alone. Nothing on the page comes from anywhere else."""

from training.report.page import render_report, report_bytes

__all__ = ["render_report", "report_bytes"]
