"""The doctor of data sets: reads a set before it is trained on, and says what is wrong with it."""

from fcnjax.data.doctor.check import check, quick_check
from fcnjax.data.doctor.findings import ERROR, NOTE, WARNING, Finding

__all__ = ["ERROR", "NOTE", "WARNING", "Finding", "check", "quick_check"]
