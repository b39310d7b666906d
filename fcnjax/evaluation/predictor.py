"""Evaluation of what `fcnjax predict` writes: ensembles, test-time augmentation and thresholds."""

import contextlib

import numpy as np
from ml_collections import ConfigDict

from fcnjax import data, metrics
from fcnjax.data.loading.skipping import UnreadableExample
from fcnjax.evaluation.results import Accumulator, Results
from fcnjax.inference import Predictor


def evaluate_predictor(predictor: Predictor, config: ConfigDict, source: data.Source) -> Results:
    """Evaluate a predictor on the images of a source, one after the other.

    Args:
        predictor: The predictor. Its request must include the output `probabilities` if a metric of
            `config.eval.metrics` needs them.
        config: A resolved config.
        source: The images and labels.
    """
    metrics.check_eval(config)
    classes, ignore = len(config.data.class_names), config.data.ignore_label
    accumulator = Accumulator(config, len(source))
    for index in range(len(source)):
        with contextlib.suppress(UnreadableExample):
            example = source[index]
            label = np.asarray(example["label"])
            prediction = predictor(np.asarray(example["image"]))
            matrix = metrics.confusion_matrix(label, prediction.mask, classes, ignore)
            counts = {"confusion": matrix, "images": metrics.image_counts(matrix[None])}
            if prediction.probabilities is not None:
                names = tuple(config.eval.metrics)
                batch = (prediction.probabilities[None], label[None], ignore, np.ones(1, bool))
                counts |= metrics.device_counts(names, *batch)
            if accumulator.add(counts, np.asarray([index])).size:
                accumulator.keep(index, prediction.mask)
            if accumulator.extra.on_host:
                accumulator.extra.add_image(index, label, prediction.mask)
    return accumulator.results(source)
