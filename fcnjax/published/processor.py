"""Preprocessing of a published model, from its `preprocessor_config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fcnjax.errors import UserError
from fcnjax.models.pretrained.sources.weights import IMAGENET_MEAN, IMAGENET_STD
from fcnjax.published.architecture import PublishedConfig

# Pillow's numbers of the filters.
_FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Processor:
    """The defaults of an image processor, for keys that its file leaves out.

    Attributes:
        size: The size, as `size` has it.
        filter: The number of the filter.
        crop: The side of the square that is cropped from the centre.
        crops: Whether it is cropped, unless the file says no.
        normalises: Whether it uses mean and standard deviation, unless the file says no.
        mean, std: For pixels in 0..1, in the order RGB.
        flips: Whether RGB becomes BGR.
        is_square: Whether a single number is the side of a square, and not the shortest edge.
        may_split: Whether it splits or pads images where its file says so.
        divisor: Sides are rounded up to multiples of this, unless the file has another.
    """

    size: Mapping[str, int]
    filter: int = 2
    crop: int | None = None
    crops: bool = False
    normalises: bool = True
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    flips: bool = False
    is_square: bool = True
    may_split: bool = False
    divisor: int = 0


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


# By the beginning of `image_processor_type` (or `feature_extractor_type`), from transformers 5.24.
PROCESSORS: Mapping[str, Processor] = {
    "Segformer": Processor(_square(512)),
    "Beit": Processor(_square(224), 3, 224, mean=_HALF, std=_HALF),
    "DPT": Processor(_square(384), 3, mean=_HALF, std=_HALF),
    "MobileNetV2": Processor(
        {"shortest_edge": 256}, 2, 224, crops=True, mean=_HALF, std=_HALF, is_square=False
    ),
    "MobileViT": Processor(
        {"shortest_edge": 224}, 3, 256, crops=True, normalises=False, flips=True, is_square=False
    ),
    # Some Mask2Former files name the processor of its predecessor, which does the same.
    **dict.fromkeys(
        ("Mask2Former", "MaskFormer"),
        Processor({"shortest_edge": 800, "longest_edge": 1333}, is_square=False, divisor=32),
    ),
    "Eomt": Processor({"shortest_edge": 640, "longest_edge": 640}, is_square=False, may_split=True),
    "ViT": Processor(_square(224), mean=_HALF, std=_HALF),
}


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of a published model.

    Attributes:
        resize: Keys of `config.eval.resize`.
        mean, std: For pixels in 0..1, in the order RGB.
        flips: Whether the model takes BGR.
        reduces_labels: Whether the masks of its dataset have 0 for no class, and ids from 1 on.
    """

    resize: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    flips: bool = False
    reduces_labels: bool = False


def read_preprocessing(config: PublishedConfig) -> Preprocessing:
    """Return the preprocessing that a `preprocessor_config.json` describes.

    Raises:
        UserError: The processor is unknown, or a value is not supported.
    """
    kinds = [
        config.content.get(f"{name}_type") for name in ("image_processor", "feature_extractor")
    ]
    kind = next((name for name in kinds if isinstance(name, str)), "")
    defaults = next((row for name, row in PROCESSORS.items() if kind.startswith(name)), None)
    if defaults is None:
        raise UserError(
            f"{config.where}: image_processor_type is {kind[:60]!r}; supported: "
            f"{', '.join(f'{name}ImageProcessor' for name in PROCESSORS)}"
        )
    mean, std = _normalisation(config, defaults)
    flips = config.flag("do_flip_channel_order", defaults.flips)
    if defaults.may_split and any(config.flag(f"do_{k}", False) for k in ("split_image", "pad")):
        config.require("do_resize", True)  # to the size of the squares
    resize = _resize(config, defaults) if config.flag("do_resize", True) else {}
    # Older files have the second name.
    reduces = any(config.flag(name, False) for name in ("do_reduce_labels", "reduce_labels"))
    return Preprocessing(resize, mean, std, flips, reduces)


def _normalisation(config: PublishedConfig, defaults: Processor) -> tuple[tuple, tuple]:
    """Return mean and deviation for pixels in 0..1."""
    # The processor multiplies stored pixels, in 0..255, by this number.
    factor = config.number("rescale_factor", 1 / 255) if config.flag("do_rescale", True) else 1.0
    mean, std = (0.0,) * 3, (1.0,) * 3
    if defaults.normalises and config.flag("do_normalize", True):
        mean = config.numbers("image_mean", list(defaults.mean))
        std = config.numbers("image_std", list(defaults.std))
    if len(mean) != len(std) or min(std, default=0) <= 0 or factor <= 0:
        raise UserError(f"{config.where}: image_mean, image_std or rescale_factor is invalid")
    scale = factor * 255
    if abs(scale - 1) < 1e-6:
        return mean, std
    return tuple(value / scale for value in mean), tuple(value / scale for value in std)


def _resize(config: PublishedConfig, defaults: Processor) -> dict[str, Any]:
    size = config.content.get("size", defaults.size)
    if isinstance(size, int) and not isinstance(size, bool):
        size = _square(size) if defaults.is_square else {"shortest_edge": size}
    elif isinstance(size, list) and len(size) == 2:
        size = {"height": size[1], "width": size[0]}
    size = PublishedConfig(size, f"{config.where}: size")
    if size.has("shortest_edge") and not size.has("longest_edge") and config.has("max_size"):
        # As older files name it.
        size.content = {**size.content, "longest_edge": config.integer("max_size")}
    number = config.integer("resample", defaults.filter)
    if not 0 <= number < len(_FILTERS):
        raise UserError(f"{config.where}: resample is {number}; valid: 0..{len(_FILTERS) - 1}")
    resize: dict[str, Any] = {"filter": _FILTERS[number]}
    if size.has("height") and size.has("width"):
        resize |= {"rule": "stretch", "size": (size.integer("height"), size.integer("width"))}
        if config.flag("keep_aspect_ratio", False):
            resize["rule"] = "least_change"
    elif size.has("shortest_edge"):
        edges = [size.integer(name) for name in ("shortest_edge", "longest_edge") if size.has(name)]
        resize |= {"rule": "shortest_edge", "size": tuple(edges)}
    elif size.has("longest_edge"):
        resize |= {"rule": "longest_edge", "size": (size.integer("longest_edge"),)}
    else:
        raise UserError(f"{size.where}: has no height and width, shortest_edge or longest_edge")
    resize["multiple"] = config.integer("ensure_multiple_of", 1)
    # 0 or null: not rounded.
    divisor = config.content.get("size_divisor", defaults.divisor)
    if defaults.divisor:
        config.require("pad_size", None)
    if defaults.divisor and divisor:
        resize |= {"multiple": config.integer("size_divisor", divisor), "round_up": True}
    if config.flag("do_center_crop", defaults.crops):
        resize["crop"] = _crop(config, defaults)
    return resize | (_split_or_pad(config, resize) if defaults.may_split else {})


def _split_or_pad(config: PublishedConfig, resize: Mapping[str, Any]) -> dict[str, Any]:
    size = resize["size"]
    if config.flag("do_split_image", False):
        if resize["rule"] != "shortest_edge" or (len(size) > 1 and size[0] != size[1]):
            raise UserError(
                f"{config.where}: do_split_image: size is {config.content.get('size')}; supported: "
                "shortest_edge alone"
            )
        # With an equal longest edge the image is one square, which is padded if it is smaller.
        return {"split": True} if len(size) == 1 else {"pad": "crop"}
    return {"pad": "stretch"} if config.flag("do_pad", False) else {}


def _crop(config: PublishedConfig, defaults: Processor) -> tuple[int, int]:
    crop = config.content.get("crop_size", defaults.crop)
    if isinstance(crop, dict):
        crop = PublishedConfig(crop, f"{config.where}: crop_size")
        return crop.integer("height"), crop.integer("width")
    side = config.integer("crop_size", defaults.crop)
    return side, side
