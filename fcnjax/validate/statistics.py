"""Numbers of a whole split: its classes, sizes and pixels, and what they suggest for a config."""

from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import tuples
from fcnjax.validate.examples import Look
from fcnjax.validate.findings import ERROR, NOTE, WARNING, Finding, override_words, some

STEP, MOST_CROP = 32, 512  # a suggested crop is a multiple of the one, and at most the other
MUCH = 0.5  # share of ignored pixels, from which on they are warned of


class DatasetStatistics:
    """The looks at a split, added up.

    Attributes:
        examples: How many labels were read.
        counts: Pixels by class, int64 `[K]`; `ignored` and `outside` of no class at all.
        images_with: Examples by class, int64 `[K]`.
        beside: Pixels that count of the examples that have a class, by class, int64 `[K]`.
        sizes: Height and width of each image, int64 `[N, 2]`.
        mean: By channel, of the pixels scaled to 0..1; and their standard deviation, `std`. None
            where no image was read, or the images differ in their channels.
    """

    def __init__(self, looks: Sequence[Look], num_classes: int):
        labelled = [look for look in looks if look.counts is not None]
        counts = np.asarray([look.counts for look in labelled], np.int64)
        counts = counts.reshape(len(labelled), num_classes)
        self.examples = len(labelled)
        self.counts = counts.sum(0)
        self.images_with = (counts > 0).sum(0)
        self.beside = ((counts > 0) * counts.sum(1, keepdims=True)).sum(0)
        self.ignored = sum(look.ignored for look in labelled)
        self.outside = sum(look.outside for look in labelled)
        self.blank = [look.name for look in labelled if not look.counts.any()]
        self.sizes = np.asarray([look.size for look in looks if look.mean is not None], np.int64)
        self.sizes = self.sizes.reshape(-1, 2)
        self.mean, self.std = _moments([look for look in looks if look.mean is not None])

    @property
    def share(self) -> np.ndarray:
        """Of the pixels that count, by class; float64 `[K]`."""
        return self.counts / max(self.counts.sum(), 1)

    @property
    def ignored_share(self) -> float:
        """Of all pixels, those that do not count."""
        total = int(self.counts.sum()) + self.ignored + self.outside
        return (self.ignored + self.outside) / max(total, 1)


def _moments(looks: Sequence[Look]) -> tuple[np.ndarray | None, np.ndarray | None]:
    if len({len(look.mean) for look in looks}) != 1:
        return None, None
    weights = np.asarray([look.size[0] * look.size[1] for look in looks], np.float64)
    mean = np.average([look.mean for look in looks], 0, weights)
    square = np.average([look.square for look in looks], 0, weights)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def median_frequency_weights(tally: DatasetStatistics) -> np.ndarray:
    """Class weights by median frequency balancing (Eigen and Fergus, ICCV 2015).

    The frequency of a class is its share of the pixels of the images that have it; its weight is
    the median frequency over its own. A class that is in no image gets 1, which has no effect.

    Returns:
        Float64 `[K]`.
    """
    there = tally.counts > 0
    if not there.any():
        return np.ones(len(tally.counts))
    frequency = tally.counts[there] / tally.beside[there]
    weights = np.ones(len(tally.counts))
    weights[there] = np.median(frequency) / frequency
    return weights


def inverse_weights(tally: DatasetStatistics, power: float = 1.0) -> np.ndarray:
    """Class weights by the share of all pixels, to the power of `-power`.

    Those of the classes that there are have the mean 1; a class that is in no image gets 1.

    Returns:
        Float64 `[K]`.
    """
    there = tally.counts > 0
    weights = np.ones(len(tally.counts))
    if there.any():
        raw = tally.share[there] ** -power
        weights[there] = raw / raw.mean()
    return weights


def suggest_crop(sizes: np.ndarray) -> tuple[int, int]:
    """A height and width that nine of ten images hold, at most `MOST_CROP`.

    Small images are rather padded, which models do not see, than cut.

    Args:
        sizes: Heights and widths, `[N, 2]`.
    """
    sides = np.sort(sizes, axis=0)[len(sizes) // 10]
    small = sides < 2 * STEP
    steps = np.where(small, np.ceil(sides / STEP), np.floor(sides / STEP))
    return tuple(int(side) for side in np.minimum(steps * STEP, MOST_CROP))


def of_classes(
    tallies: Mapping[str, DatasetStatistics], config: ConfigDict, whole: bool
) -> list[Finding]:
    """Findings on classes and ignored pixels.

    Args:
        tallies: Those of `train` and `eval`.
        config: The resolved config.
        whole: Whether all examples were read: else a class that was not seen may be there.
    """
    names, findings = np.asarray(config.data.class_names), []
    for part, tally in tallies.items():
        if not tally.examples:
            continue
        seen = int((tally.counts > 0).sum())
        where = part if whole else f"the {tally.examples} examples of {part} looked at"
        if part == "train" and seen < 2:
            text = f"the labels of {where} hold {seen} class of {len(names)}: nothing can be learnt"
            # A small class may be in the labels that were not looked at.
            findings.append(Finding(ERROR if whole else WARNING, "one class", text))
        elif seen < len(names):
            absent = list(names[tally.counts == 0])
            text = f"{some(absent)}: in no label of {where}"
            text += ", so that no score can tell of it" if part == "eval" else ", so not learnt"
            findings.append(Finding(WARNING if whole else NOTE, "empty class", text))
        if tally.outside:
            text = f"{tally.outside} pixels of {part} have a label that is no class"
            findings.append(Finding(ERROR, "labels outside the classes", text))
        if tally.blank and seen >= 2:
            text = f"{len(tally.blank)} labels of {part} are ignored as a whole: "
            findings.append(Finding(WARNING, "ignored labels", text + some(tally.blank)))
        severity = WARNING if tally.ignored_share > MUCH else NOTE
        if tally.ignored:
            text = f"{tally.ignored_share:.1%} of the pixels of {part} are ignored"
            findings.append(Finding(severity, "ignored pixels", text))
    return findings


def suggestions(train: DatasetStatistics, asked: ConfigDict, config: ConfigDict) -> list[Finding]:
    """What the training images suggest for a config: normalisation, class weights and the crop.

    Args:
        train: Of the whole split.
        asked: The config that the lines are for.
        config: The same, resolved.
    """
    findings = []
    if train.mean is not None and (train.std > 0).all():
        mean, std = rounded(train.mean), rounded(train.std)
        words = override_words(asked, {"data.mean": mean, "data.std": std})
        text = "mean and standard deviation of the training pixels"
        if asked.model.init_from:
            text += "; published weights want those they were trained with"
        findings.append(Finding(NOTE, "normalisation", text, words))
    elif train.mean is not None:
        text = f"a channel of {config.data.channels} has one value in all of train"
        findings.append(Finding(WARNING, "normalisation", text))
    if len(train.sizes):
        findings.append(_crop(train.sizes, asked))
    if train.examples and any(asked.loss[k] for k in ("cross_entropy", "binary_cross_entropy")):
        weights = rounded(median_frequency_weights(train))
        words = override_words(asked, {"loss.class_weights": weights})
        rarest = 100 * train.share[train.counts > 0].min(initial=1)
        text = (
            f"the rarest class is {rarest:.2g}% of the training pixels; weights by "
            "median frequency balancing (Eigen and Fergus 2015), should rare classes be missed"
        )
        findings.append(Finding(NOTE, "class weights", text, words))
    return findings


def rounded(values: np.ndarray) -> tuple[float, ...]:
    """The values to four digits, as a reader of a config wants them."""
    return tuple(float(f"{value:.4g}") for value in values)


def _crop(sizes: np.ndarray, asked: ConfigDict) -> Finding:
    low, high = sizes.min(0), sizes.max(0)
    text = f"training images are {spread(sizes)} pixels (width x height)"
    crop = suggest_crop(sizes)
    words = override_words(asked, {"augment.crop": crop})
    now = tuples(asked.augment.crop)
    if (
        len(now) == 2
        and all(isinstance(side, int) for side in now)
        and (np.asarray(now) >= 2 * high).any()
    ):
        text += f"; the crop of {now[1]}x{now[0]} is mostly padding"
        return Finding(WARNING, "image sizes", text, words)
    if (low != high).any():
        text += "; the crop below fits into nine of ten"
    return Finding(NOTE, "image sizes", text, words)


def spread(sizes: np.ndarray) -> str:
    """The least and greatest of heights and widths `[N, 2]`, as `500x375 to 500x500`."""
    if not len(sizes):
        return "unread"
    (low, left), (high, right) = sizes.min(0), sizes.max(0)
    least, most = f"{left}x{low}", f"{right}x{high}"
    return least if least == most else f"{least} to {most}"
