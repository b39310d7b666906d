"""A folder in the layout of transformers: its config, its preprocessing and its weights."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.config import default_config
from fcnjax.errors import UserError, choose, join_names
from fcnjax.io.json_files import read_json
from fcnjax.models.build import build_model
from fcnjax.models.pretrained.model_folder import (
    CONFIG_FILE,
    LARGEST_CONFIG,
    is_external_config,
    read_config_file,
)
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources.hub import INDEX_SUFFIX
from fcnjax.models.pretrained.sources.weights import WEIGHT_FILES, Weights, shard_names
from fcnjax.published.architecture import Architecture, PublishedConfig
from fcnjax.published.convert import convert_model
from fcnjax.published.palettes import find_palette
from fcnjax.published.processor import Preprocessing, read_preprocessing
from fcnjax.published.table import ARCHITECTURES

PROCESSOR_FILE = "preprocessor_config.json"


class PublishedModel(NamedTuple):
    """A published model.

    Attributes:
        config: A config of fcnjax that describes it.
        model: Its module.
        variables: Its variables, NumPy arrays.
    """

    config: ConfigDict
    model: nn.Module
    variables: dict[str, Any]


def is_external(folder: str | Path) -> bool:
    """Return whether a folder has the `config.json` of a model of another library."""
    try:
        return is_external_config(read_config_file(folder))
    except UserError:
        return False


def find_weights(folder: str | Path) -> Path:
    """Return the file of the weights, or the index of its shards.

    Raises:
        UserError: The folder has none.
    """
    for name in (*WEIGHT_FILES, *(f"{name}{INDEX_SUFFIX}" for name in WEIGHT_FILES)):
        if (path := Path(folder) / name).is_file():
            return path
    raise UserError(f"{folder}: has no weights; valid: {', '.join(WEIGHT_FILES)}, or its shards")


def read_config(folder: str | Path, log: Callable[[str], None]) -> ConfigDict:
    """Return the config of fcnjax that describes a published model, without reading its weights.

    Args:
        folder: The folder.
        log: Called with a line about what is assumed.

    Raises:
        UserError: A file is missing or invalid, or the model is not supported.
    """
    return _read_config(Path(folder), log)[0]


def read_model_folder(
    folder: str | Path, log: Callable[[str], None], dtype: str | None = None
) -> PublishedModel:
    """Read a published model.

    Args:
        folder: With `config.json`, `preprocessor_config.json`, and the weights: `model.safetensors`
            or `pytorch_model.bin`, or shards of either with their index.
        log: Called with a line about what is assumed or not used.
        dtype: Type of the computation, or None for float32.

    Raises:
        UserError: A file is missing or invalid, the model is not supported, or the weights do not
            fit it.
    """
    folder = Path(folder)
    config, architecture, preprocessing = _read_config(folder, log)
    if dtype is not None:
        config.model.dtype = dtype
    model = build_model(config)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), "float32")
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x), image)
    file, tensors = _read_weights(folder)
    variables, unused = convert_model(tensors, shapes, model, architecture, str(file))
    if unused:
        log(f"note: {file}: {len(unused)} tensors are not used: {join_names(unused)}")
    if preprocessing.flips:
        _swap_red_and_blue(variables)
    return PublishedModel(config, model, variables)


def _read_config(
    folder: Path, log: Callable[[str], None]
) -> tuple[ConfigDict, Architecture, Preprocessing]:
    path = folder / CONFIG_FILE
    published = PublishedConfig(read_config_file(folder), str(path))
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
    return config, architecture, preprocessing


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
    return read_preprocessing(PublishedConfig(read_json(path, LARGEST_CONFIG), str(path)))


def _read_weights(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file of the weights, or the index of its shards, and the tensors."""
    file = find_weights(folder)
    shards = shard_names(file) if file.name.endswith(INDEX_SUFFIX) else [file.name]
    if missing := [name for name in shards if not (folder / name).is_file()]:
        raise UserError(f"{file}: {len(missing)} files are missing: {join_names(missing)}")
    tensors: dict[str, Any] = {}
    for name in shards:
        tensors |= read_tensors(Weights(name, folder / name))
    return file, tensors


def _swap_red_and_blue(variables: dict[str, Any]) -> None:
    """Make a model of BGR one of RGB: swap the channels of the kernel that reads the image."""
    kernels = [
        (parent, leaf)
        for parent, leaf, value in _leaves(variables["params"]["encoder"])
        if leaf == "kernel" and value.ndim == 4 and value.shape[2] == 3
    ]
    if len(kernels) != 1:
        raise UserError("do_flip_channel_order: the model has not one kernel that reads an image")
    parent, leaf = kernels[0]
    parent[leaf] = np.ascontiguousarray(parent[leaf][:, :, ::-1])


def _leaves(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield tree, name, value
