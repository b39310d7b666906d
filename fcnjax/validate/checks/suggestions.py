"""Suggestions for a config: normalisation, crop and class weights."""

from collections.abc import Iterator

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import tuples
from fcnjax.data.labels.class_names import are_default_names
from fcnjax.io.pictures import default_palette
from fcnjax.validate.checks.proposals import propose_names
from fcnjax.validate.findings import NOTE, WARNING, Finding, make_overrides
from fcnjax.validate.statistics import (
    DatasetStatistics,
    DatasetSummary,
    format_sizes,
    median_frequency_weights,
    rounded,
)

CROP_STEP, MAX_CROP = 32, 512  # a suggested crop is a multiple of the first and at most the second


def suggest_settings(dataset: DatasetSummary) -> Iterator[Finding]:
    """Suggest settings from all training images."""
    if not dataset.is_complete:
        return
    train, config = dataset.statistics["train"], dataset.config
    counts = sum(each.counts for each in dataset.statistics.values())
    # An absent class may come from a wrong reading of the masks, which another finding corrects.
    if dataset.resolved and counts.all() and (finding := suggest_names(config, dataset.data)):
        yield finding
    if train.mean is not None:
        yield _normalisation(train, config, dataset.data.channels)
    if len(train.sizes):
        yield _crop(train.sizes, config)
    if train.examples and any(config.loss[k] for k in ("cross_entropy", "binary_cross_entropy")):
        weights = rounded(median_frequency_weights(train))
        rarest = 100 * train.share[train.counts > 0].min(initial=1)
        text = (
            f"the rarest class is {rarest:.2g}% of the training pixels; if rare classes are "
            "missed, try weights by median frequency balancing (Eigen and Fergus 2015)"
        )
        overrides = make_overrides(config, {"loss.class_weights": weights})
        yield Finding(NOTE, "class weights", text, overrides)


def suggest_names(config: ConfigDict, data: ConfigDict) -> Finding | None:
    """Suggest names for classes without any, by their colours; None if there is nothing to change.

    Args:
        config: The config as the user gave it.
        data: The resolved `config.data`.
    """
    if not are_default_names(data.class_names):
        return None
    colours = tuple(map(tuple, data.palette))
    if colours == default_palette(len(colours)):
        names = data.class_names
        text = "the classes have no names; edit those below, which are in class order"
    else:
        names = propose_names(colours)
        pairs = zip(names, colours, strict=True)
        listed = ", ".join(f"{name} {colour}" for name, colour in pairs)
        text = f"the classes have no names; edit those below, which name their colours: {listed}"
    values = {"data.class_names": names}
    if data.labels.encoding == "rgb":
        # Names alone do not say which colour is which.
        values["data.labels.mask_colours"] = tuple(map(tuple, data.labels.mask_colours))
    overrides = make_overrides(config, values)
    return Finding(NOTE, "class names", text, overrides) if overrides else None


def _normalisation(train: DatasetStatistics, config: ConfigDict, channels: str) -> Finding:
    if not (train.std > 0).all():
        text = f"a channel of {channels} has one value in all of train"
        return Finding(WARNING, "normalisation", text)
    text = "mean and standard deviation of the training pixels"
    if config.model.init_from:
        text += "; published weights need those they were trained with"
    values = {"data.mean": rounded(train.mean), "data.std": rounded(train.std)}
    return Finding(NOTE, "normalisation", text, make_overrides(config, values))


def _crop(sizes: np.ndarray, config: ConfigDict) -> Finding:
    low, high = sizes.min(0), sizes.max(0)
    text = f"training images are {format_sizes(sizes)} pixels (width x height)"
    overrides = make_overrides(config, {"augment.crop": suggest_crop(sizes)})
    crop = tuples(config.augment.crop)
    are_sides = len(crop) == 2 and all(isinstance(side, int) for side in crop)
    if are_sides and (np.asarray(crop) >= 2 * high).any():
        text += f"; the crop of {crop[1]}x{crop[0]} is mostly padding"
        return Finding(WARNING, "image sizes", text, overrides)
    if (low != high).any():
        text += "; the crop below fits into nine of ten"
    return Finding(NOTE, "image sizes", text, overrides)


def suggest_crop(sizes: np.ndarray) -> tuple[int, int]:
    """Return a height and width that fit into nine of ten images, at most `MAX_CROP`.

    For small images it is rounded up, since models do not see padding.

    Args:
        sizes: Heights and widths, `[N, 2]`.
    """
    sides = np.sort(sizes, axis=0)[len(sizes) // 10]
    is_small = sides < 2 * CROP_STEP
    steps = np.where(is_small, np.ceil(sides / CROP_STEP), np.floor(sides / CROP_STEP))
    return tuple(int(side) for side in np.minimum(steps * CROP_STEP, MAX_CROP))
