"""Sources of labelled images, and what a config says of them."""

from collections.abc import Callable

from ml_collections import ConfigDict

from fcnjax import pictures
from fcnjax.data import folder, samples
from fcnjax.data.folder import MismatchedSource, Pair, PairSource
from fcnjax.data.source import Source
from fcnjax.errors import UserError, choose

__all__ = ["SOURCES", "Source", "open_source", "resolve"]


def _resolve_folder(config: ConfigDict) -> list[str]:
    """Fills in classes, their stored values and colours, by looking at the masks."""
    data = config.data
    pairs = folder.find_pairs(data)
    masks = [mask for part in pairs.values() for _, mask in part]
    notes = []
    if not data.mask_values:
        found = folder.look_at_masks(masks, data.ignore_label)
        if data.class_names and not (len(data.class_names) == 2 and len(found) == 2):
            data.mask_values = tuple(range(len(data.class_names)))
        else:
            data.mask_values = folder.values_of_classes(found, data.ignore_label)
        seen = ", ".join(map(str, sorted(found)))
        notes.append(
            f"{data.root}: {len(pairs['train'])} images to train on, {len(pairs['eval'])} held "
            f"out; masks hold {seen}: {len(data.mask_values)} classes"
        )
    count = len(data.mask_values)
    if not data.class_names:
        data.class_names = (
            ("background", "foreground")
            if count == 2
            else tuple(f"class_{i}" for i in range(count))
        )
    if not data.palette:
        own = folder.palette_of(masks, data.mask_values)
        data.palette = own or tuple(map(tuple, pictures.default_palette(count)))
    return notes


def _folder_pairs(config: ConfigDict) -> dict[str, list[Pair]]:
    return folder.find_pairs(config.data)


def _resolve_sample(config: ConfigDict) -> list[str]:
    sample = samples.SAMPLES[config.data.source]
    for key in ("class_names", "mask_values", "palette"):
        if not config.data[key]:
            config.data[key] = getattr(sample, key)
    samples.fetch(config.data.source)
    return []


def _sample_pairs(config: ConfigDict) -> dict[str, list[Pair]]:
    data = config.data
    splits = samples.SAMPLES[data.source].pairs(samples.fetch(data.source))
    return {
        part: choose(splits, data[f"{part}_split"], f"config.data.{part}_split")
        for part in ("train", "eval")
    }


# Name: what fills in a config, and what lists the pairs of `train` and `eval`.
SOURCES: dict[str, tuple[Callable, Callable]] = {
    "folder": (_resolve_folder, _folder_pairs),
    **dict.fromkeys(samples.SAMPLES, (_resolve_sample, _sample_pairs)),
}


def resolve(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Returns a copy of the config that says all of its data, and lines on what was found.

    Raises:
        UserError: The data cannot be used; names the file or key.
    """
    config = config.copy_and_resolve_references()
    fill, _ = choose(SOURCES, config.data.source, "config.data.source")
    notes = fill(config)
    data = config.data
    for key in ("class_names", "palette"):
        if len(data[key]) != len(data.mask_values):
            raise UserError(
                f"config.data.{key}: has {len(data[key])} entries for "
                f"{len(data.mask_values)} classes (stored as {data.mask_values})"
            )
    if len(set(data.class_names)) < len(data.class_names):
        raise UserError(f"config.data.class_names: {data.class_names} has a name twice")
    return config, notes


def open_source(config: ConfigDict, part: str) -> Source:
    """Opens the split `train` or `eval` of a resolved config.

    Raises:
        UserError: The data is not there any more.
    """
    _, list_pairs = choose(SOURCES, config.data.source, "config.data.source")
    source = PairSource(list_pairs(config)[part], config.data)
    if config.data.shuffle_labels and part == "train":
        return MismatchedSource(source, config.data.split_seed, config.data.ignore_label)
    return source
