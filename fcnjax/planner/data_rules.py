"""The planner's choices from images and labels alone."""

import math
import os
import re
from collections.abc import Iterator

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.planner.budget import Budget
from fcnjax.planner.choice import Choice
from fcnjax.planner.fingerprint import Fingerprint
from fcnjax.planner.symmetry import MIN_IMAGES, asymmetry
from fcnjax.validate import rounded

# A p-value below the first forbids the usual flip; one above the second allows unusual moves.
ORIENTED, UNORIENTED = 0.01, 0.1
SIDES = frozenset({"left", "right"})  # words of names of classes that a flip would change
RARE, RARE_CROPS = 0.03, 0.5  # share of a rare class; share of crops around classes
LARGE_CROP = 0.5  # part of an image, from which on a crop has most classes of the image anyway
THIN = 3.0  # pixels; classes of such a width suffer where images are resampled
MAX_DEVICE_BYTES = 2**30  # of a dataset that is kept in the memory of an accelerator
HOST_SHARE = 1 / 8  # of the memory of the machine, for a dataset


def choose_channels(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose one channel for grey images."""
    if config.data.channels == "RGB" and dataset.is_grey and not config.model.init_from:
        reason = f"the channels of all {len(dataset.examples)} images that were read are equal"
        yield Choice({"data.channels": "L"}, reason)


def choose_normalisation(
    config: ConfigDict, dataset: Fingerprint, budget: Budget
) -> Iterator[Choice]:
    """Choose the mean and standard deviation of the training images."""
    if config.model.init_from:
        return  # pretrained weights bring theirs
    mean, std = dataset.mean_and_std
    if config.data.channels == "L":
        mean, std = mean[:1], std[:1]
    if (std > 0).all():
        reason = f"mean and standard deviation of {len(dataset.examples)} training images"
        yield Choice({"data.mean": rounded(mean), "data.std": rounded(std)}, reason)


def choose_cache(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose where decoded images are kept."""
    if config.data.loading.workers:
        return  # processes that read have no memory in common
    pixels = dataset.sizes.max(0).prod() * (dataset.train + dataset.held_out)
    size = int(pixels) * (len(config.data.mean) * dataset.pixel_bytes + 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if jax.default_backend() != "cpu" and size <= MAX_DEVICE_BYTES:
        cache = "device"
    elif size <= HOST_SHARE * memory:
        cache = "host"
    else:
        return
    yield Choice({"data.loading.cache": cache}, f"all decoded images take {size / 1e6:.0f} MB")


def choose_flips(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the flips and turns after which an image is still a plausible one."""
    layouts = dataset.layouts
    # Light from above, as of a sky, has a meaning; light from one side forbids no flip.
    p = {"columns": asymmetry(layouts[..., :-1], "columns")}
    p |= {move: asymmetry(layouts, move) for move in ("rows", "axes")}
    sided = [name for name in dataset.class_names if SIDES & _words(name)]
    if sided and not config.data.labels.mirror_pairs:
        hflip, reason = False, f"the class {sided[0]} belongs to a side"
    else:
        hflip = p["columns"] >= ORIENTED
        reason = _compared("left and right", p["columns"], "classes")
    yield Choice({"augment.hflip": 0.5 if hflip else 0.0}, reason)
    is_enough = len(dataset.examples) >= MIN_IMAGES
    vflip = is_enough and hflip and p["rows"] >= UNORIENTED
    yield Choice({"augment.vflip": 0.5 if vflip else 0.0}, _compared("top and bottom", p["rows"]))
    turns = vflip and p["axes"] >= UNORIENTED
    reason = _compared("rows and columns", p["axes"])
    yield Choice({"augment.quarter_turns": 0.75 if turns else 0.0}, reason)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+", name.lower()))


def _compared(sides: str, p: float, parts: str = "classes and brightness") -> str:
    kind = "alike" if p >= UNORIENTED else "unlike"
    return f"{sides} are {kind} in {parts} (sign-flip test, p = {p:.2g})"


def choose_geometry(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the zoom and rotation."""
    thin = float(dataset.thickness.min())
    if thin < THIN:
        values = {"augment.scale": (1.0, 1.0), "augment.rotation": 0.0}
        yield Choice(values, f"a class is {thin:.2g} pixels wide, and resampling would blur it")
    else:
        values = {"augment.scale": (0.75, 1.33), "augment.rotation": 15.0}
        yield Choice(values, f"regions are at least {thin:.3g} pixels wide")


def choose_colours(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the changes of brightness, contrast and saturation."""
    saturation = 0.2 if config.data.channels == "RGB" else 0.0
    values = {"augment.brightness": 0.1, "augment.contrast": 0.2, "augment.saturation": saturation}
    yield Choice(values, "usual for photographs")


def choose_loss(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the weight of the Dice loss."""
    yield Choice({"loss.dice": 1.0}, "counts classes alike, and cross-entropy counts pixels alike")


def choose_sampling(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the share of crops around classes, from the crop that was chosen before."""
    shares, names = dataset.shares, dataset.class_names
    rarest = min(np.flatnonzero(shares), key=lambda label: shares[label], default=0)
    part = min(math.prod(config.augment.crop) / float(dataset.sizes.prod(1).mean()), 1.0)
    is_rare = shares[rarest] < RARE and part < LARGE_CROP
    reason = (
        f"{names[rarest]}, the rarest class, has {100 * shares[rarest]:.2g}% of the pixels, and a "
        f"crop has {100 * part:.2g}% of an image"
    )
    yield Choice({"data.sampling.class_crop": RARE_CROPS if is_rare else 0.0}, reason)
