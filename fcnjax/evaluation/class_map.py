"""Evaluation on a dataset whose classes are not those of the model.

Classes are matched by name. The labels become the ids of the model, and only the classes of the
dataset are scored: a prediction of another class of the model is a miss.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from fcnjax import data
from fcnjax.config import default_config, override
from fcnjax.data.labels.class_match import class_ids, find_class
from fcnjax.data.labels.class_names import class_key
from fcnjax.data.layout import PARTS
from fcnjax.data.source import ConcatenatedSource, Source, SourceWrapper
from fcnjax.errors import UserError, join_names, suggest

IGNORE = "ignore"
# Keys of `config.data` that belong to the model, not to the dataset that it is scored on.
_OF_MODEL = ("class_names", "palette", "channels", "pixel_type", "mean", "std")


class MappedSet(NamedTuple):
    """A dataset with the class ids of a model.

    Attributes:
        config: The config of the model, with the data of the dataset.
        source: The images, whose labels are ids of the model.
        examples: Their identities.
        scored: The ids of the model that the dataset has.
        notes: Lines about the classes.
    """

    config: ConfigDict
    source: Source
    examples: Sequence[Any]
    scored: tuple[int, ...]
    notes: tuple[str, ...]


class _MappedLabels(SourceWrapper):
    """A source whose labels are replaced by a table; the last entry is for ignored pixels."""

    def __init__(self, source: Source, class_names: Sequence[str], table: np.ndarray, ignored: int):
        super().__init__(source)
        self.class_names = tuple(class_names)
        self._table, self._ignored = table, ignored

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self._source[index]
        label = np.asarray(example["label"])
        rows = np.where(label == self._ignored, len(self._table) - 1, label)
        return {**example, "label": self._table[rows]}


def parse_class_map(text: str) -> dict[str, str]:
    """Parse `--class-map`: `car=vehicle,tree=ignore`, from classes of the dataset to the model's.

    Raises:
        UserError: A part is not `NAME=NAME`, or a class is given twice.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, target = (word.strip() for word in part.partition("="))
        if not (name and equals and target):
            raise UserError(f"--class-map: {part!r} is not CLASS=CLASS or CLASS={IGNORE}")
        if name in pairs:
            raise UserError(f"--class-map: {name!r} is given twice")
        pairs[name] = target
    return pairs


def match_classes(
    dataset: Sequence[str], model: Sequence[str], class_map: Mapping[str, str]
) -> list[int | None]:
    """Return the id of the model for each class of a dataset; None for those that are ignored.

    Raises:
        UserError: A class has no partner, or `class_map` names a class that does not exist.
    """
    ids = class_ids(model)
    targets = {class_key(name): target for name, target in class_map.items()}
    known = {class_key(name) for name in dataset}
    for name in class_map:
        if class_key(name) not in known:
            raise UserError(
                f"--class-map: the dataset has no class {name!r}{suggest(name, dataset)}; valid: "
                f"{', '.join(dataset)}"
            )
    matched, missing = [], []
    for name in dataset:
        target = targets.get(class_key(name), name)
        partner = find_class(target, ids)
        if target == IGNORE and name != IGNORE:
            partner = None
        elif partner is None:
            missing.append(name if target == name else f"{name}={target}")
        matched.append(partner)
    if missing:
        raise UserError(
            f"--class-map: the model has no class {', '.join(missing)}; give its name there as "
            f"CLASS=NAME, or drop it with CLASS={IGNORE}; classes of the model: "
            f"{join_names(model, 40)}"
        )
    return matched


def open_mapped(
    saved: ConfigDict, overrides: Sequence[str], class_map: Mapping[str, str]
) -> MappedSet:
    """Open a dataset with classes of its own, to score a model on it.

    Of a folder without a split all images are scored.

    Args:
        saved: The config of the model.
        overrides: Words `--config.data.KEY=VALUE` about the dataset.
        class_map: From `parse_class_map`.

    Raises:
        UserError: The dataset cannot be used, or a class has no partner.
    """
    config = default_config()
    for key in ("channels", "pixel_type"):
        config.data[key] = saved.data[key]
    for word in overrides:
        if word.startswith("--config.data."):
            override(config, word)
    resolved, notes = data.resolve(config)
    names = resolved.data.class_names
    ids = match_classes(names, saved.data.class_names, class_map)
    is_split_given = any(word.startswith("--config.data.split.") for word in overrides)
    parts = ("eval",) if is_split_given or not _is_split_by_chance(resolved) else PARTS
    opened = data.open_sets(resolved, parts)
    ignored = saved.data.ignore_label
    table = np.asarray([ignored if i is None else i for i in ids] + [ignored])
    table = table.astype(np.uint8 if ignored <= 255 else np.int32)
    source = ConcatenatedSource([data.open_source(resolved, part, opened) for part in parts])
    mapped = _MappedLabels(source, saved.data.class_names, table, resolved.data.ignore_label)
    config = saved.copy_and_resolve_references()
    for key, value in resolved.data.items():
        if key not in (*_OF_MODEL, "ignore_label"):
            config.data[key] = value
    pairs = [
        f"{name}: {IGNORE if i is None else saved.data.class_names[i]}"
        for name, i in zip(names, ids, strict=True)
    ]
    scored = tuple(sorted({i for i in ids if i is not None}))
    if not scored:
        raise UserError("--class-map: drops every class of the dataset; keep one")
    notes = (
        *notes,
        f"{len(mapped)} images are scored{' (all of them)' if len(parts) > 1 else ''}",
        f"classes of the dataset in the model: {', '.join(pairs)}",
    )
    examples = [each for part in parts for each in opened[0].sources[part].examples()]
    return MappedSet(config, mapped, examples, scored, notes)


def _is_split_by_chance(resolved: ConfigDict) -> bool:
    """Return whether the images to evaluate depend on the seed of the split."""
    splits = set()
    for seed in range(5):
        config = resolved.copy_and_resolve_references()
        config.data.split.seed += seed
        examples = data.open_stored(config, "eval").examples()
        splits.add(tuple(example.title for example in examples))
    return len(splits) > 1
