"""Sources of labelled images, and what a config says of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data import classes, folder, samples
from fcnjax.data.folder import MismatchedSource, Pair, PairSource
from fcnjax.data.source import Source
from fcnjax.errors import UserError, choose
from fcnjax.pictures import default_palette

__all__ = ["SOURCES", "Source", "open_source", "resolve"]


def _resolve_folder(config: ConfigDict) -> list[str]:
    """Fills in classes, their stored values and colours, by looking at the masks."""
    data = config.data
    pairs = folder.find_pairs(data)
    data.root = str(Path(data.root).absolute())  # found again from any folder
    everything = [pair for part in pairs.values() for pair in part]
    folder.check_sizes(everything)
    masks = [mask for _, mask in everything]
    note = f"{data.root}: {len(pairs['train'])} images to train on, {len(pairs['eval'])} held out"
    if not data.mask_values:
        found = classes.look_at_masks(masks)
        data.mask_values = _values(found, data)
        note += f"; masks hold {classes.listed(sorted(found))}: {len(data.mask_values)} classes"
        unseen = [value for value in data.mask_values if value not in found]
        if unseen:
            note += f" ({classes.listed(unseen)} seen in no mask)"
    notes = [note]
    both = len(set(pairs["train"]) & set(pairs["eval"]))
    if both:
        notes.append(f"{data.root}: {both} images are in both splits: the score will flatter")
    count = len(data.mask_values)
    if not data.class_names:
        data.class_names = (
            ("background", "foreground")
            if count == 2
            else tuple(f"class_{i}" for i in range(count))
        )
    if not data.palette:
        data.palette = classes.palette_of(masks, data.mask_values) or default_palette(count)
    return notes


def _values(found: Mapping[int, Path], data: ConfigDict) -> tuple[int, ...]:
    """The stored values of the classes: as named, if the config names the classes."""
    names = len(data.class_names)
    if not names or (names == 2 and len(found) == 2):
        return classes.values_of_classes(found, data.ignore_label)
    return tuple(range(names))


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
    data = config.data
    choose({"RGB": 3, "L": 1}, data.channels, "config.data.channels")
    for key, seed in (("train.seed", config.train.seed), ("data.split_seed", data.split_seed)):
        if seed < 0:
            raise UserError(f"config.{key}: {seed} is below 0")
    fill, _ = choose(SOURCES, data.source, "config.data.source")
    notes = fill(config)
    _check_classes(data)
    return config, notes


def _check_classes(data: ConfigDict) -> None:
    """Raises UserError where the classes of a resolved `config.data` contradict each other."""
    values, count = data.mask_values, len(data.mask_values)
    for key in ("class_names", "palette"):
        if len(data[key]) != count:
            raise UserError(
                f"config.data.{key}: has {len(data[key])} entries for {count} classes (stored as "
                f"{', '.join(map(str, values))})"
            )
    for key in ("class_names", "mask_values"):
        if len(set(data[key])) < count:
            raise UserError(f"config.data.{key}: {data[key]} has an entry twice")
    if not all(isinstance(value, int) and value >= 0 for value in values):
        raise UserError(f"config.data.mask_values: {values} are not all whole numbers from 0 on")
    # The label arrays hold class ids and the ignore label side by side, in 8 bits if they can.
    most = 255 if count <= 255 else 2**31 - 1
    if not count <= data.ignore_label <= most:
        raise UserError(
            f"config.data.ignore_label: {data.ignore_label} is no label beside the class ids 0 to "
            f"{count - 1}; valid: {count} to {most}"
        )


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
