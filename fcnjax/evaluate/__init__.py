"""Scores of a checkpoint on images with labels."""

from fcnjax.evaluate.evaluator import Evaluator
from fcnjax.evaluate.results import METRICS_FILE, Results, write_results

__all__ = ["METRICS_FILE", "Evaluator", "Results", "write_results"]
