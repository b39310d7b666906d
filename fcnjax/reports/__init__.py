"""Pages on runs."""

from fcnjax.reports.run import REPORT_FILE, Scores, write_report

__all__ = ["REPORT_FILE", "Scores", "write_report"]
