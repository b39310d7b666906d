"""Evaluation of trained models on labelled images."""

from fcnjax.evaluation.evaluator import Evaluator
from fcnjax.evaluation.results import METRICS_FILE, Results, read_images, read_scores, write_results
from fcnjax.evaluation.scored_images import with_split

__all__ = [
    "METRICS_FILE",
    "Evaluator",
    "Results",
    "read_images",
    "read_scores",
    "with_split",
    "write_results",
]
