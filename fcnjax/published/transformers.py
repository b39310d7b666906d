"""The layout of transformers: its `config.json` and `preprocessor_config.json`."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import UserError, choose
from fcnjax.io.json_files import read_json
from fcnjax.models.pretrained.model_folder import CONFIG_FILE, LARGEST_CONFIG
from fcnjax.models.pretrained.names import LEAVES
from fcnjax.models.pretrained.sources.weights import PROCESSOR_FILE
from fcnjax.published.architecture import Architecture, PublishedConfig
from fcnjax.published.description import Description
from fcnjax.published.palettes import find_palette
from fcnjax.published.processor import Preprocessing, read_preprocessing
from fcnjax.published.table import ARCHITECTURES


def describe_transformers(folder: Path, content: Any, log: Callable[[str], None]) -> Description:
    """Describe the model of a folder.

    Args:
        folder: The folder.
        content: The content of its `config.json`.
        log: Called with a line about what is assumed.

    Raises:
        UserError: A file is invalid, or the model is not supported.
    """
    path = folder / CONFIG_FILE
    published = PublishedConfig(content, str(path))
    architecture = _choose_architecture(published)
    if "auto_map" in published.content:
        log(f"note: {path}: names code of its own (auto_map), which is not run")
    if published.integer("num_channels", 3) != 3:
        raise UserError(f"{path}: num_channels is not 3; supported: images in RGB")
    config = default_config()
    for key, value in architecture.model(published).items():
        config.model[key] = value
    names = _class_names(published)
    config.data.class_names, config.data.palette = names, find_palette(names)
    config.data.labels.mask_values = tuple(range(len(names)))
    config.data.pixel_type = "uint8"
    preprocessing = _read_preprocessing(folder, log)
    config.data.mean, config.data.std = preprocessing.mean, preprocessing.std
    for key, value in preprocessing.resize.items():
        config.eval.resize[key] = value
    names_of = functools.partial(_tensor_names, architecture)
    return Description(
        config,
        names_of,
        unused=architecture.unused,
        flips=preprocessing.flips,
        older_names=architecture.older_names,
        check=architecture.check,
    )


def _tensor_names(architecture: Architecture, model: nn.Module, path: tuple[str, ...]) -> list[str]:
    _, *layer, leaf = path
    names = architecture.layer_names(model, tuple(layer))
    if names is None:
        raise LookupError(f"{'/'.join(path)} has no name in the published model")
    leaf = architecture.leaves.get(leaf, LEAVES.get(leaf, leaf))
    return [f"{name}.{leaf}" if leaf else name for name in names.split("|")]


def _choose_architecture(config: PublishedConfig) -> Architecture:
    names = config.content.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise UserError(f"{config.where}: architectures is {str(names)[:60]}; valid: one name")
    return choose(ARCHITECTURES, names[0], f"{config.where}: architectures")


def _class_names(config: PublishedConfig) -> tuple[str, ...]:
    """Return the names of the classes, by id; of equal names, the later ones get their id."""
    if not config.has("id2label"):
        count = config.integer("num_labels", 2)
        return tuple(f"class_{i}" for i in range(count))
    labels = config.section("id2label")
    ids = sorted(labels.content, key=lambda key: int(key) if key.isdecimal() else -1)
    if ids != [str(i) for i in range(len(ids))]:
        raise UserError(f"{labels.where}: has not the ids 0 to {len(ids) - 1}")
    names: dict[str, None] = {}
    for key in ids:
        name = " ".join(labels.text(key).split()) or f"class_{key}"
        names[f"{name} ({key})" if name in names else name] = None
    return tuple(names)


def _read_preprocessing(folder: Path, log: Callable[[str], None]) -> Preprocessing:
    path = folder / PROCESSOR_FILE
    if not path.is_file():
        log(
            f"note: {folder} has no {PROCESSOR_FILE}: ImageNet's normalisation is assumed, and "
            "images are seen at their own size"
        )
        return Preprocessing()
    preprocessing = read_preprocessing(PublishedConfig(read_json(path, LARGEST_CONFIG), str(path)))
    if preprocessing.reduces_labels:
        log(
            f"note: {path}: do_reduce_labels: in masks of its dataset 0 is no class, and the other "
            "values are one more than their ids in masks written here"
        )
    return preprocessing
