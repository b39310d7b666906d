"""What a folder of weights holds, on this machine or on the hub."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fcnjax.errors import UserError
from fcnjax.io.json_files import read_json

MAX_JSON = 2**22  # bytes of a file beside weights; one with the names of 20,000 classes has 1 MB
_SHOWN = 10  # names of files in an error
MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
_TORCH_SUFFIXES = (".bin", ".pth", ".pt", ".ckpt")

_UNKNOWN_FORM = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

Normalisation = tuple[Sequence[float], Sequence[float]]


def choose_file(names: Iterable[str], where: str) -> str:
    """The file that holds the weights, among the names of a folder's files.

    It is `model.safetensors`, else the only `.safetensors` file, else `pytorch_model.bin`, else the
    only file of torch.

    Raises:
        UserError: No file holds weights, or several might; names them.
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
                f"{where}: holds several files of weights; name one of: {', '.join(kind[:_SHOWN])}"
            )
    raise UserError(
        f"{where}: holds no file of weights ({', '.join(names[:5]) or 'it is empty'}); valid: "
        f".safetensors, {', '.join(_TORCH_SUFFIXES)}"
    )


def find_normalisation(read: Callable[[str], Any]) -> Normalisation | tuple[None, None]:
    """The mean and deviation of pixels in 0..1 that the files beside published weights tell.

    Args:
        read: From a file's name to its JSON; None where there is no such file.
    """
    for name, look in TOLD_IN.items():
        content = read(name)
        # These are the files of others, of any form: what does not look as known tells nothing.
        with contextlib.suppress(*_UNKNOWN_FORM):
            mean, std = (tuple(map(float, part)) for part in look(content))
            if len(mean) == len(std) > 0 and min(std) > 0 and all(map(math.isfinite, mean + std)):
                return mean, std
    return None, None


def read_json_or_none(path: Path) -> Any:
    """The content of a JSON file; None where it is missing, too large or not JSON."""
    try:
        return read_json(path, MAX_JSON)
    except UserError:
        return None


def _of_config(config: Any) -> Normalisation:
    """In timm's config.json under `pretrained_cfg`; in smp's of encoders at the top."""
    told = config.get("pretrained_cfg", config)
    # smp's of some encoders are of pixels in 0..255.
    full = told.get("input_range", (0, 1))[-1]
    return tuple([value / full for value in told[key]] for key in ("mean", "std"))


def _of_preprocessor(config: Any) -> Normalisation:
    """In the preprocessor_config.json of transformers."""
    return config["image_mean"], config["image_std"]


def _of_albumentations(config: Any) -> Normalisation:
    """In the transforms that smp saves with its models."""
    for transform in config["transform"]["transforms"]:
        if transform["__class_fullname__"].endswith("Normalize"):
            return transform["mean"], transform["std"]
    raise LookupError("no normalisation")


# File: what finds the two in its content, or fails.
TOLD_IN: Mapping[str, Callable[[Any], Normalisation]] = MappingProxyType(
    {
        CONFIG_FILE: _of_config,
        "preprocessor_config.json": _of_preprocessor,
        "albumentations_config_eval.json": _of_albumentations,
    }
)
