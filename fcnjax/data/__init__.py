"""Sources of labelled images, and what a config says of them."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from fcnjax.config import load_config
from fcnjax.data.annotations.recognise import suggest_source
from fcnjax.data.converted import converted, find_pixel_type
from fcnjax.data.labels.class_names import check_names, clean_config_names, refuse_similar_names
from fcnjax.data.labels.masks import stored_values
from fcnjax.data.labels.merge_classes import merge_classes
from fcnjax.data.layout import PARTS
from fcnjax.data.loading.cache import cached
from fcnjax.data.loading.mixture import Mixture
from fcnjax.data.loading.skipping import guarded
from fcnjax.data.mirror import check_mirror_pairs
from fcnjax.data.pairs import MismatchedSource
from fcnjax.data.settings import check_settings
from fcnjax.data.source import Source, StoredSource
from fcnjax.data.sources import SOURCES
from fcnjax.data.splits.lists import refuse_folds
from fcnjax.data.splits.opened_set import OpenedSet
from fcnjax.errors import UserError, choose, one_line
from fcnjax.runtime.packages import to_stderr

# Of a model: counts of pixels are a matrix of classes by classes.
MOST_CLASSES = 2048

__all__ = [
    "SOURCES",
    "OpenedSet",
    "Source",
    "StoredSource",
    "check_classes",
    "check_settings",
    "mixed_config",
    "open_plain",
    "open_sets",
    "open_source",
    "resolve",
]


def resolve(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Returns a copy of the config that says all of its data, and lines on what was found.

    Raises:
        UserError: The data cannot be used; names the file or key.
    """
    config = config.copy_and_resolve_references()
    data = config.data
    check_settings(config)
    clean_config_names(data)
    layout = choose(SOURCES, data.source, "config.data.source")
    if not layout.divides:
        refuse_folds(data, f"by chance, and config.data.source={data.source} has splits of its own")
    try:
        notes = layout.resolve(config)
    except UserError as error:
        raise UserError(f"{error}{suggest_source(config.data)}") from error
    clean_config_names(data)  # those that the layout found
    check_names(data.class_names, "config.data.class_names")
    _check_lengths(data)
    if data.label_map:
        merge_classes(data)
    refuse_similar_names(data.class_names)
    check_classes(data)
    check_mirror_pairs(data)
    if data.pixel_type is None:
        data.pixel_type = find_pixel_type(open_plain(config, "train"))
    return config, list(map(one_line, notes))


def _check_lengths(data: ConfigDict) -> None:
    """Raises UserError where a resolved `config.data` has not an entry for each class."""
    count = len(data.mask_values)
    for key in ("class_names", "palette"):
        if len(data[key]) != count:
            raise UserError(
                f"config.data.{key}: has {len(data[key])} entries for {count} classes (stored as "
                f"{', '.join(map(str, data.mask_values))})"
            )


def check_classes(data: ConfigDict) -> None:
    """Raises UserError where the classes of a resolved `config.data` contradict each other."""
    count = len(data.class_names)
    if count > MOST_CLASSES:
        raise UserError(f"config.data.class_names: {count} classes; at most {MOST_CLASSES}")
    for key in ("mask_values", "palette"):
        if data[key] and len(data[key]) != count:
            raise UserError(f"config.data.{key}: has {len(data[key])} entries for {count} classes")
    values = [value for entry in data.mask_values for value in stored_values(entry)]
    for key, entries in (("class_names", data.class_names), ("mask_values", values)):
        if len(set(entries)) < len(entries):
            raise UserError(f"config.data.{key}: {data[key]} has an entry twice")
    if both := set(values) & set(data.ignore_values):
        raise UserError(
            f"config.data.ignore_values: {min(both)} is a class, by config.data.mask_values"
        )
    # The label arrays hold class ids and the ignore label side by side, in 8 bits if they can.
    most = 255 if count <= 255 else 2**31 - 1
    if not count <= data.ignore_label <= most:
        raise UserError(
            f"config.data.ignore_label: {data.ignore_label} is no label beside the class ids 0 to "
            f"{count - 1}; valid: {count} to {most}"
        )


def open_plain(config: ConfigDict, part: str) -> StoredSource:
    """Opens a split of a resolved config as it is stored: no cache, no mixture, no conversion."""
    return choose(SOURCES, config.data.source, "config.data.source").open(config, part)


def open_sets(config: ConfigDict, parts: Sequence[str] = PARTS) -> list[OpenedSet]:
    """Opens the sets of a new run: its own, divided as the config says, and those of the mix."""
    sets = [OpenedSet("", config, {part: open_plain(config, part) for part in parts})]
    for spec, _ in config.data.mix if "train" in parts else ():
        other, _ = resolve(mixed_config(load_config(spec), config))
        # Its `eval` is not used; that it is there tells images that come later from it.
        sets.append(OpenedSet(spec, other, {part: open_plain(other, part) for part in PARTS}))
    return sets


def mixed_config(other: ConfigDict, config: ConfigDict) -> ConfigDict:
    """The config of a set of `config.data.mix`, read as the run's own set is."""
    for key in ("cache", "on_error", "skip_most"):
        other.data[key] = config.data[key]
    for key in ("pixel_type", "orientation"):
        if other.data[key] is None:
            other.data[key] = config.data[key]
    return other


def _open_kept(opened: OpenedSet, part: str) -> Source:
    """A part of a set, kept and guarded as its config says."""
    config = opened.config
    source = converted(opened.sources[part], config.data)
    return guarded(config, part, cached(config, part, source, to_stderr))


def _mixed(sets: Sequence[OpenedSet], config: ConfigDict) -> Mixture:
    """The training images of a run's own set and those of `config.data.mix`, by weight."""
    for other in sets[1:]:
        for key in ("class_names", "channels", "ignore_label", "pixel_type"):
            if other.config.data[key] != config.data[key]:
                raise UserError(
                    f"config.data.mix: {other.spec} has the {key} {other.config.data[key]}, and "
                    f"this config {config.data[key]}; they must be equal (see "
                    "config.data.label_map)"
                )
    weights = [1.0, *(weight for _, weight in config.data.mix)]
    return Mixture([_open_kept(each, "train") for each in sets], weights)


def open_source(config: ConfigDict, part: str, sets: Sequence[OpenedSet] = ()) -> Source:
    """Opens the split `train` or `eval` of a resolved config.

    Args:
        config: The config.
        part: The split.
        sets: The sets of a run; () divides the images as the config says.

    Raises:
        UserError: The data is not there any more.
    """
    sets = sets or open_sets(config, (part,))
    if part == "train" and config.data.mix:
        source = _mixed(sets, config)
    else:
        source = _open_kept(sets[0], part)
    if config.data.shuffle_labels and part == "train":
        return MismatchedSource(source, config.data.split_seed, config.data.ignore_label)
    return source
