"""Datasets of labelled images: resolution of `config.data`, and opening of splits."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from fcnjax.config import load_config, open_keys
from fcnjax.data.annotations.recognise import suggest_source
from fcnjax.data.flip_pairs import check_flip_pairs
from fcnjax.data.labels.class_names import check_names, clean_config_names, refuse_similar_names
from fcnjax.data.labels.masks import stored_values
from fcnjax.data.labels.merge_classes import merge_classes
from fcnjax.data.layout import PARTS
from fcnjax.data.loading.cache import open_cached
from fcnjax.data.loading.skipping import SkippingSource, skips_unreadable
from fcnjax.data.pairs import ShuffledLabelSource
from fcnjax.data.pixel_type import convert_source, find_pixel_type
from fcnjax.data.settings import check_settings
from fcnjax.data.source import Mixture, Source, StoredSource
from fcnjax.data.sources import SOURCES
from fcnjax.data.splits.lists import refuse_folds
from fcnjax.data.splits.opened_set import OpenedSet
from fcnjax.errors import UserError, choose, one_line

MAX_CLASSES = 2048  # of a model; confusion matrices have the square of it

__all__ = [
    "SOURCES",
    "OpenedSet",
    "Source",
    "StoredSource",
    "check_classes",
    "check_settings",
    "mixed_config",
    "open_sets",
    "open_source",
    "open_stored",
    "resolve",
]


def resolve(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Return a copy of the config with all keys of `data` filled in, and lines on what was found.

    Raises:
        UserError: The data cannot be used; names the file or key.
    """
    config = config.copy_and_resolve_references()
    data = config.data
    check_settings(config)
    clean_config_names(data)
    layout = choose(SOURCES, data.source, "config.data.source")
    if not layout.can_split:
        refuse_folds(data, f"by chance, and config.data.source={data.source} has its own splits")
    try:
        notes = layout.resolve(config)
    except UserError as error:
        raise UserError(f"{error}{suggest_source(config.data)}") from error
    clean_config_names(data)  # again, for names that the layout found
    check_names(data.class_names, "config.data.class_names")
    _check_lengths(data)
    if data.labels.label_map:
        merge_classes(data)
    refuse_similar_names(data.class_names)
    check_classes(data)
    check_flip_pairs(data)
    if data.pixel_type is None:
        data.pixel_type = find_pixel_type(open_stored(config, "train"))
    return config, list(map(one_line, notes))


def _check_lengths(data: ConfigDict) -> None:
    """Raise UserError if a key of a resolved `config.data` lacks an entry for a class."""
    count = len(data.labels.mask_values)
    for key in ("class_names", "palette"):
        if len(data[key]) != count:
            raise UserError(
                f"config.data.{key}: has {len(data[key])} entries for {count} classes (stored as "
                f"{', '.join(map(str, data.labels.mask_values))})"
            )


def check_classes(data: ConfigDict) -> None:
    """Raise UserError if the classes of a resolved `config.data` are contradictory."""
    count = len(data.class_names)
    if count > MAX_CLASSES:
        raise UserError(f"config.data.class_names: {count} classes; at most {MAX_CLASSES}")
    for key in ("labels.mask_values", "palette"):
        if data[key] and len(data[key]) != count:
            raise UserError(f"config.data.{key}: has {len(data[key])} entries for {count} classes")
    values = [value for entry in data.labels.mask_values for value in stored_values(entry)]
    for key, entries in (("class_names", data.class_names), ("labels.mask_values", values)):
        if len(set(entries)) < len(entries):
            raise UserError(f"config.data.{key}: {data[key]} has an entry twice")
    if both := set(values) & set(data.labels.ignore_values):
        raise UserError(
            f"config.data.labels.ignore_values: {min(both)} is a class, by "
            "config.data.labels.mask_values"
        )
    # Label arrays hold class ids and the ignore label, in 8 bits if possible.
    maximum = 255 if count <= 255 else 2**31 - 1
    if not count <= data.ignore_label <= maximum:
        raise UserError(
            f"config.data.ignore_label: {data.ignore_label} cannot be used with the class ids 0 to "
            f"{count - 1}; valid: {count} to {maximum}"
        )


def open_stored(config: ConfigDict, part: str) -> StoredSource:
    """Open a split of a resolved config as stored, without cache, mixture or conversion."""
    return choose(SOURCES, config.data.source, "config.data.source").open(config, part)


def open_sets(config: ConfigDict, parts: Sequence[str] = PARTS) -> list[OpenedSet]:
    """Open the datasets of a new run: its own, split by the config, and those of the mix."""
    sets = [OpenedSet("", config, {part: open_stored(config, part) for part in parts})]
    for spec, _ in config.data.sampling.mix if "train" in parts else ():
        other, _ = resolve(mixed_config(load_config(spec), config))
        # The run does not use its `eval` split, but stores it, so that images that are added
        # later are recognised as new.
        sets.append(OpenedSet(spec, other, {part: open_stored(other, part) for part in PARTS}))
    return sets


def mixed_config(other: ConfigDict, config: ConfigDict) -> ConfigDict:
    """Return the config of a dataset of `sampling.mix`, with the loading options of the run."""
    for key in ("cache", "on_error", "skip_most"):
        other.data.loading[key] = config.data.loading[key]
    if "data.channels" in open_keys(other):
        other.data.channels = config.data.channels
    if other.data.pixel_type is None:
        other.data.pixel_type = config.data.pixel_type
    if other.data.nifti.orientation is None:
        other.data.nifti.orientation = config.data.nifti.orientation
    return other


def _open_cached(opened: OpenedSet, part: str) -> Source:
    """Return a split with the conversion, cache and error handling of its config."""
    config = opened.config
    source = open_cached(config, part, convert_source(opened.sources[part], config.data))
    if not skips_unreadable(config.data):
        return source
    return SkippingSource(source, config.data.loading.skip_most, replace=part == "train")


def _open_mixture(sets: Sequence[OpenedSet], config: ConfigDict) -> Mixture:
    """Return the training images of the run's own dataset and of those in `sampling.mix`."""
    for other in sets[1:]:
        for key in ("class_names", "channels", "ignore_label", "pixel_type"):
            if other.config.data[key] != config.data[key]:
                raise UserError(
                    f"config.data.sampling.mix: {other.spec} has the {key} "
                    f"{other.config.data[key]}, and "
                    f"this config {config.data[key]}; they must be equal (see "
                    "config.data.labels.label_map)"
                )
    weights = [1.0, *(weight for _, weight in config.data.sampling.mix)]
    return Mixture([_open_cached(each, "train") for each in sets], weights)


def open_source(config: ConfigDict, part: str, sets: Sequence[OpenedSet] = ()) -> Source:
    """Open the split `train` or `eval` of a resolved config.

    Args:
        config: The config.
        part: The split.
        sets: The opened datasets of a run. () splits the images by the config.

    Raises:
        UserError: The data does not exist any more.
    """
    sets = sets or open_sets(config, (part,))
    if part == "train" and config.data.sampling.mix:
        source = _open_mixture(sets, config)
    else:
        source = _open_cached(sets[0], part)
    if config.data.sampling.shuffle_labels and part == "train":
        return ShuffledLabelSource(source, config.data.split.seed, config.data.ignore_label)
    return source
