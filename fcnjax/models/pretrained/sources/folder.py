"""The files of a folder of weights, on this machine or on the hub."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.json_files import read_json

MAX_JSON = 2**22  # bytes; a file with the names of 20,000 classes has 1 MB
_MAX_SHOWN = 10  # names of files in an error
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
_TORCH_SUFFIXES = (".bin", ".pth", ".pt", ".ckpt")

_UNKNOWN_CONTENT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Normalisation = tuple[Sequence[float], Sequence[float]]


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
                f"{where}: has several weight files; name one of: {', '.join(kind[:_MAX_SHOWN])}"
            )
    raise UserError(
        f"{where}: has no weight file ({', '.join(names[:5]) or 'it is empty'}); valid: "
        f".safetensors, {', '.join(_TORCH_SUFFIXES)}"
    )


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


def _from_preprocessor(config: Any) -> Normalisation:
    """Extract it from the preprocessor_config.json of transformers."""
    return config["image_mean"], config["image_std"]


def _from_albumentations(config: Any) -> Normalisation:
    """Extract it from the transforms that smp saves with its models."""
    for transform in config["transform"]["transforms"]:
        if transform["__class_fullname__"].endswith("Normalize"):
            return transform["mean"], transform["std"]
    raise LookupError("no normalisation")


# Files that may have the normalisation, and functions that extract it from their content or fail.
NORMALISATION_FILES: Mapping[str, Callable[[Any], Normalisation]] = MappingProxyType(
    {
        CONFIG_FILE: _from_config,
        "preprocessor_config.json": _from_preprocessor,
        "albumentations_config_eval.json": _from_albumentations,
    }
)
