"""Weights on this machine, the result of every source, and the files in a folder of them."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnjax.errors import UserError, join_names
from fcnjax.io.atomic_files import cache_dir
from fcnjax.io.json_files import field, read_json
from fcnjax.models.pretrained.model_folder import CONFIG_FILE, MODEL_FILE

MAX_JSON = 2**22  # bytes; a file with the names of 20,000 classes has 1 MB
_MAX_SHOWN = 10  # names of files in an error
WEIGHT_FILES = (MODEL_FILE, "pytorch_model.bin")  # of a published model
PROCESSOR_FILE = "preprocessor_config.json"  # beside the models of transformers
ALBUMENTATIONS_FILE = "albumentations_config_eval.json"  # beside those of smp
PREPROCESSING_FILES = (PROCESSOR_FILE, ALBUMENTATIONS_FILE)
_MOST_SHARDS = 256  # files of one model
_TORCH_SUFFIXES = (".bin", ".pth", ".pt", ".ckpt")
# The normalisation of nearly all weights trained on ImageNet, for pixels in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_UNKNOWN_CONTENT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Normalisation = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Weights:
    """Weights on this machine.

    Attributes:
        source: Their source, as in `config.model.init_from`.
        path: The weight file; for an entire model, its folder.
        is_model: Whether they are an entire model with its own config: a workdir, what `fcnjax
            publish` made, or a segmentation model in the layout of transformers.
        mean: The mean that training subtracted from pixels in 0..1, by channel; None if unknown.
        std: The standard deviation that training divided by.
    """

    source: str
    path: Path
    is_model: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def weights_folder() -> Path:
    """Return the folder of downloaded and converted weights."""
    return cache_dir() / "weights"


def choose_file(names: Iterable[str], where: str) -> str:
    """Return the file with the weights, among the names of a folder's files.

    It is `model.safetensors`, else the only `.safetensors` file, else `pytorch_model.bin`, else the
    only torch file.

    Raises:
        UserError: No file has weights, or several may; names them.
    """
    names = sorted(names)
    safe = [name for name in names if name.endswith(".safetensors")]
    torch = [name for name in names if name.endswith(_TORCH_SUFFIXES)]
    for kind, usual in ((safe, MODEL_FILE), (torch, "pytorch_model.bin")):
        if usual in kind:
            return usual
        if len(kind) == 1:
            return kind[0]
        if kind:
            raise UserError(
                f"{where}: has several weight files; name one of: {join_names(kind, _MAX_SHOWN)}"
            )
    raise UserError(
        f"{where}: has no weight file ({join_names(names) or 'it is empty'}); valid: "
        f".safetensors, {', '.join(_TORCH_SUFFIXES)}"
    )


def check_has_config(names: Iterable[str], where: str) -> None:
    """Raise UserError for the files of a folder that has weights, but no `config.json` of a model.

    Args:
        names: The names of its files.
        where: The folder or repository, for the error.
    """
    names = sorted(names)
    weights = [name for name in names if name.endswith(".safetensors") or name in WEIGHT_FILES]
    if weights and CONFIG_FILE not in names:
        raise UserError(
            f"{where}: has weights ({join_names(weights)}) but no {CONFIG_FILE}, which describes "
            f"their model; give a folder with the weights and the {CONFIG_FILE} that their library "
            f"writes; to train from the weights: --config.model.init_from={where}"
        )


def shard_names(index: Path) -> list[str]:
    """Return the names of the files that an index of weights names.

    Raises:
        UserError: The index is damaged, or names too many files or one outside its folder.
    """
    names = field(read_json(index, MAX_JSON), "weight_map", dict, str(index)).values()
    shards = sorted({name for name in names if isinstance(name, str)})
    if not 0 < len(shards) <= _MOST_SHARDS:
        raise UserError(f"{index}: names {len(shards)} files; valid: 1 to {_MOST_SHARDS}")
    for name in shards:
        if Path(name).name != name or not name.endswith((".safetensors", *_TORCH_SUFFIXES)):
            raise UserError(
                f"{index}: names {name[:60]!r}, which is not a file of weights beside it"
            )
    return shards


def find_normalisation(read: Callable[[str], Any]) -> Normalisation | tuple[None, None]:
    """Return mean and deviation for pixels in 0..1 from the files beside published weights.

    Args:
        read: Reads a JSON file by its name; returns None where there is none.
    """
    for name, extract in NORMALISATION_FILES.items():
        content = read(name)
        # Files of other libraries may have any content: what is not as expected is ignored.
        with contextlib.suppress(*_UNKNOWN_CONTENT):
            mean, std = (tuple(map(float, part)) for part in extract(content))
            if len(mean) == len(std) > 0 and min(std) > 0 and all(map(math.isfinite, mean + std)):
                return mean, std
    return None, None


def read_json_or_none(path: Path) -> Any:
    """Return the content of a JSON file; None where it is missing, too large or not JSON."""
    try:
        return read_json(path, MAX_JSON)
    except UserError:
        return None


def _from_config(config: Any) -> Normalisation:
    """Extract it from timm's config.json (`pretrained_cfg`), or that of smp's encoders."""
    config = config.get("pretrained_cfg", config)
    # Some of smp's are for pixels in 0..255.
    full = config.get("input_range", (0, 1))[-1]
    return tuple([value / full for value in config[key]] for key in ("mean", "std"))


def _from_albumentations(config: Any) -> Normalisation:
    """Extract it from the transforms that smp saves with its models."""
    for transform in config["transform"]["transforms"]:
        if transform["__class_fullname__"].endswith("Normalize"):
            return transform["mean"], transform["std"]
    raise LookupError("no normalisation")


# Files that may have the normalisation, and functions that extract it from their content or fail.
NORMALISATION_FILES: Mapping[str, Callable[[Any], Normalisation]] = {
    CONFIG_FILE: _from_config,
    PROCESSOR_FILE: lambda config: (config["image_mean"], config["image_std"]),
    ALBUMENTATIONS_FILE: _from_albumentations,
}
