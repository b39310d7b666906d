"""Evaluation of what `fcnjax predict` would write: of views, ensembles, thresholds and regions."""

import contextlib

import numpy as np
from ml_collections import ConfigDict

from fcnjax import data, metrics
from fcnjax.data.loading.skipping import UnreadableExample
from fcnjax.evaluation.results import Accumulator, Results
from fcnjax.inference import Predictor


def evaluate_predictor(predictor: Predictor, config: ConfigDict, source: data.Source) -> Results:
    """Scores a predictor's masks of all images of a source, one after the other.

    Args:
        predictor: Whose request has the output `probabilities`, where `config.eval.metrics` has a
            score that is of them.
        config: A resolved config.
        source: The images and labels.
    """
    metrics.check_eval(config)
    classes, ignore = len(config.data.class_names), config.data.ignore_label
    tally = Accumulator(config, len(source))
    for place in range(len(source)):
        with contextlib.suppress(UnreadableExample):
            example = source[place]
            label = np.asarray(example["label"])
            found = predictor(np.asarray(example["image"]))
            matrix = metrics.confusion_matrix(label, found.mask, classes, ignore)
            counts = {"confusion": matrix, "images": metrics.image_counts(matrix[None])}
            if found.probabilities is not None:
                names = tuple(config.eval.metrics)
                batch = (found.probabilities[None], label[None], ignore, np.ones(1, bool))
                counts |= metrics.device_counts(names, *batch)
            if tally.add(counts, np.asarray([place])).size:
                tally.keep(place, found.mask)
            if tally.extra.on_host:
                tally.extra.add_image(place, label, found.mask)
    return tally.results(source)
