"""Evaluation of trained models on labelled images."""

from fcnjax.evaluation.evaluator import Evaluator
from fcnjax.evaluation.read_results import read_image_counts, read_image_names, read_scores
from fcnjax.evaluation.results import METRICS_FILE, Results, write_results
from fcnjax.evaluation.scored_images import with_split

__all__ = [
    "METRICS_FILE",
    "Evaluator",
    "Results",
    "read_image_counts",
    "read_image_names",
    "read_scores",
    "with_split",
    "write_results",
]
