"""Run folder → report.html; several runs → one comparison."""

from weft.report.compare import Comparison, write_comparison
from weft.report.page import write_report

__all__ = ["Comparison", "write_comparison", "write_report"]
