"""The forms and ranges of `config.data`: what the type of a key alone does not say."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config import channel_names
from fcnjax.data.loading.skipping import skips_unreadable
from fcnjax.data.pixel_type import check_pixel_type
from fcnjax.errors import UserError, choose

TREATMENTS = ("ignore", "object")  # config.data.coco.crowd and .boxes
CACHES = ("device", "disk", "host")  # config.data.loading.cache
# Keys with the name of a file or folder, or a part of one.
_PATHS = ("root", "images", "masks", "annotations", "mask_suffix", "split.train", "split.eval")
MOST_BYTES = 1000  # of such a name: three of them and a file's name make a path
PAGES = ("", "channels", "first")  # config.data.pages


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_value(entry: Any) -> bool:
    entries = entry if isinstance(entry, list | tuple) else (entry,)
    return bool(entries) and all(isinstance(value, int) and value >= 0 for value in entries)


def _is_colour(entry: Any) -> bool:
    is_triple = isinstance(entry, list | tuple) and len(entry) == 3
    return is_triple and all(isinstance(part, int) and 0 <= part <= 255 for part in entry)


def _is_pair(first: Callable[[Any], bool], second: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def check(entry: Any) -> bool:
        is_pair = isinstance(entry, list | tuple) and len(entry) == 2
        return is_pair and first(entry[0]) and second(entry[1])

    return check


# Key: what each of its entries must be, and how that is said.
_ENTRIES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "class_names": (_is_text, "texts"),
    "labels.mask_names": (_is_text, "texts"),
    "labels.mask_values": (_is_value, "whole numbers from 0 on, or several of them as a tuple"),
    "labels.ignore_values": (lambda v: isinstance(v, int), "whole numbers, as 0 or -1"),
    "labels.mask_colours": (_is_colour, "RGB triples in 0..255, as (128,0,0)"),
    "palette": (_is_colour, "RGB triples in 0..255, as (128,0,0)"),
    "labels.label_map": (_is_pair(_is_text, _is_text), "pairs of a class and its new name"),
    "labels.mirror_pairs": (_is_pair(_is_text, _is_text), "pairs of two classes"),
    "sampling.mix": (_is_pair(_is_text, _is_number), "pairs of a config and its weight"),
    "mean": (_is_number, "numbers"),
    "std": (_is_number, "numbers"),
}


def check_settings(config: ConfigDict) -> None:
    """Raises UserError for a value of `config.data`, or a seed, that cannot be; names the key."""
    data = config.data
    for key in _PATHS:
        _check_path(data, key)
    for key, (fits, words) in _ENTRIES.items():
        for entry in data[key]:
            if not fits(entry):
                raise UserError(f"config.data.{key}: {entry!r} does not fit; valid: {words}")
    for key, seed in (("train.seed", config.train.seed), ("data.split.seed", data.split.seed)):
        if seed < 0:
            raise UserError(f"config.{key}: {seed} is below 0")
    channel_names(data.channels)
    check_pixel_type(data.pixel_type)
    choose(dict.fromkeys(PAGES), data.pages, "config.data.pages")
    skips_unreadable(data)  # says whether its keys are valid
    for key in ("coco.crowd", "coco.boxes"):
        if data[key] is not None:
            choose(dict.fromkeys(TREATMENTS), data[key], f"config.data.{key}")
    if data.loading.cache is not None:
        choose(dict.fromkeys(CACHES), data.loading.cache, "config.data.loading.cache")
    if data.loading.cache == "host" and data.loading.workers:
        raise UserError(
            "config.data.loading.cache: host keeps the set in the memory of one process; it needs "
            "config.data.loading.workers=0 (disk serves any number)"
        )
    crops = (data.sampling.class_crop, data.sampling.foreground_crop)
    if not (min(crops) >= 0 and sum(crops) <= 1):
        raise UserError(
            f"config.data.sampling.class_crop and .foreground_crop: {crops[0]} and {crops[1]} "
            "are not probabilities that sum to at most 1"
        )


def check_normalisation(data: ConfigDict) -> None:
    """Raises UserError where `config.data.mean` and `.std` do not fit the channels."""
    channels = channel_names(data.channels)
    if not len(data.mean) == len(data.std) == len(channels):
        raise UserError(
            f"config.data.mean and config.data.std: need one value for each of the "
            f"{len(channels)} channels {data.channels}"
        )
    if not all(data.std):
        raise UserError(f"config.data.std: {data.std} has a 0")


def _check_path(data: ConfigDict, key: str) -> None:
    """Refuses a name that no file can have, or one in a folder that is closed."""
    name = data[key]
    if "\0" in name or len(name.encode(errors="replace")) > MOST_BYTES:
        raise UserError(
            f"config.data.{key}: {name!r} is no name of a file; valid: at most {MOST_BYTES} bytes, "
            "none of them NUL"
        )
    try:
        # Of the names that are left this one test tells: it is False for a name that is not there.
        Path(data.root or ".", name).is_dir()
    except OSError as error:
        raise UserError(f"config.data.{key}: {name!r}: {error.strerror}") from error
