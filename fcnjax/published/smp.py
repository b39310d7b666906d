"""The layout of segmentation_models.pytorch (smp): its `config.json` with `_model_class`."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flax import linen as nn

from fcnjax.config import channel_names
from fcnjax.errors import UserError, choose, join_names, unknown
from fcnjax.models.module_options import format_module_options
from fcnjax.models.pretrained.model_folder import CONFIG_FILE
from fcnjax.models.pretrained.references import Reference, reference
from fcnjax.models.pretrained.sources.weights import (
    ALBUMENTATIONS_FILE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    find_normalisation,
    read_json_or_none,
)
from fcnjax.published.architecture import PublishedConfig
from fcnjax.published.description import Description

_UNET = {
    "decoder_channels": "decoder_widths",
    "decoder_attention_type": "attention",
    "decoder_interpolation": "upsample",
}
_DEEPLAB = {
    "encoder_output_stride": "output_stride",
    "decoder_channels": "decoder_width",
    "decoder_atrous_rates": "atrous_rates",
    "decoder_aspp_separable": "separable",
    "decoder_aspp_dropout": "dropout",
}
# By class: from an option of smp to the key of `config.model`.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "Unet": _UNET,
    "UnetPlusPlus": _UNET,
    "Linknet": {},
    "FPN": {
        "decoder_pyramid_channels": "pyramid",
        "decoder_segmentation_channels": "decoder_width",
        "decoder_merge_policy": "merge",
        "decoder_dropout": "dropout",
        "decoder_interpolation": "upsample",
    },
    "PSPNet": {"psp_out_channels": "decoder_width", "psp_dropout": "dropout"},
    "DeepLabV3": _DEEPLAB,
    "DeepLabV3Plus": _DEEPLAB,
    "UPerNet": {"decoder_channels": "decoder_width"},
    "Segformer": {"decoder_segmentation_channels": "decoder_width"},
}
# Values that have another name here.
_VALUES = {"cat": "concat"}
# Options of which only some values are supported.
_BATCH_NORM = ("batchnorm", True)
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "encoder_depth": (5,),
    "decoder_use_norm": _BATCH_NORM,
    "decoder_use_batchnorm": (True,),
    "psp_use_batchnorm": (True,),
}
_DEPTHS = {"PSPNet": (3,)}
# How often the logits are enlarged: to the size of the image.
_UPSAMPLING = {"FPN": 4, "PSPNet": 8, "DeepLabV3Plus": 4, "UPerNet": 4, "Segformer": 4}
# Options without use here. `aux_params` describes a classifier beside the segmentation.
_IGNORED = ("_model_class", "encoder_name", "encoder_weights", "in_channels", "classes")
_IGNORED += ("activation", "aux_params", "upsampling")
_SOFTMAX = (None, "identity", "softmax", "softmax2d", "logsoftmax", "argmax", "argmax2d")
_SIGMOID = ("sigmoid", "logsigmoid")
# Transforms that do not change what the model sees, but for its normalisation.
_NEUTRAL = ("Normalize", "ToTensorV2", "NoOp", "ToFloat")


def describe_smp(folder: Path, content: Any, log: Callable[[str], None]) -> Description:
    """Describe the model of a folder.

    Args:
        folder: The folder.
        content: The content of its `config.json`.
        log: Called with a line about what is assumed.

    Raises:
        UserError: The config is invalid, or has an option that is not supported.
    """
    published = PublishedConfig(content, str(folder / CONFIG_FILE))
    classes = published.integer("classes", 1)
    channels = published.integer("in_channels", 3)
    if min(classes, channels) < 1:
        raise UserError(f"{published.where}: classes or in_channels is not above 0")
    head = _head(published, classes)
    model = _build(published, channels, classes)
    config = model.config
    names = tuple(f"class_{i}" for i in range(max(classes, 2)))
    config.data.class_names = names
    config.data.labels.mask_values = tuple(range(len(names)))
    config.data.pixel_type = "uint8"
    config.model.head = head
    count = len(channel_names(config.data.channels))
    config.data.mean, config.data.std = _normalisation(folder, count, log)
    return Description(
        config, functools.partial(tensor_names, model), unused=("classification_head.",)
    )


def tensor_names(model: Reference, _: nn.Module, path: tuple[str, ...]) -> list[str]:
    """Return the name of the tensor of a variable in the layouts of a reference model."""
    names = (layout(path) for layout in model.layouts)
    name = next((name for name in names if name is not None), None)
    if name is None:
        raise LookupError(f"{'/'.join(path)} has no name in the published model")
    return [name]


def _build(config: PublishedConfig, channels: int, classes: int) -> Reference:
    kind = config.text("_model_class")
    options = {}
    for name, value in _checked_options(config, kind).items():
        key = _OPTIONS[kind][name]
        if key == "pyramid":
            key, value = "decoder_options", format_module_options({key: value})
        value = _VALUES.get(value, value) if isinstance(value, str) else value
        options[key] = tuple(value) if isinstance(value, list) else value
    encoder = config.text("encoder_name", "resnet34")
    if encoder.startswith("tu-"):
        encoder = encoder.partition(".")[0]  # without the name of the weights
    try:
        return reference(f"smp/{kind}/{encoder}", channels, [(1, classes)], options)
    except UserError as error:
        raise UserError(f"{config.where}: {error}") from error


def _checked_options(config: PublishedConfig, kind: str) -> dict[str, Any]:
    """Return the options that have a key of `config.model`, after checking the others.

    Raises:
        UserError: An option or its value is not supported.
    """
    valid = choose(_OPTIONS, kind, f"{config.where}: _model_class")
    fixed = {**_FIXED, "encoder_depth": _DEPTHS.get(kind, _FIXED["encoder_depth"])}
    options = {}
    for name, value in config.content.items():
        if name in valid:
            options[name] = value
        elif name in fixed:
            if not any(value is other or value == other for other in fixed[name]):
                raise _unsupported(config, name, value, fixed[name])
        elif name not in _IGNORED:
            raise unknown(f"{config.where}: option", name, (*valid, *fixed, *_IGNORED))
    upsampling = config.content.get("upsampling")
    expected = _UPSAMPLING.get(kind, config.content.get("encoder_output_stride", 8))
    if upsampling not in (None, expected):
        raise _unsupported(config, "upsampling", upsampling, (expected,))
    return options


def _unsupported(
    config: PublishedConfig, name: str, value: Any, valid: tuple[Any, ...]
) -> UserError:
    supported = ", ".join(map(repr, valid))
    return UserError(f"{config.where}: {name} is {repr(value)[:40]}; supported: {supported}")


def _head(config: PublishedConfig, classes: int) -> str:
    """Return the value of `config.model.head`."""
    activation = config.content.get("activation")
    if classes == 1:
        valid, head = (None, "identity", *_SIGMOID), "sigmoid"
    elif activation in _SIGMOID and classes > 2:
        valid, head = _SIGMOID, "sigmoid"
    else:
        valid, head = _SOFTMAX, "softmax"
    if activation not in valid:
        raise _unsupported(config, f"activation for {classes} classes", activation, valid)
    return head


def _normalisation(
    folder: Path, channels: int, log: Callable[[str], None]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation by channel, for pixels in 0..1."""
    transforms = read_json_or_none(folder / ALBUMENTATIONS_FILE)
    if others := [name for name in _transform_names(transforms) if name not in _NEUTRAL]:
        log(
            f"note: {folder / ALBUMENTATIONS_FILE}: transforms that are not applied: "
            f"{join_names(others)}"
        )
    mean, std = find_normalisation(lambda name: read_json_or_none(folder / name))
    if mean is not None and len(mean) == channels:
        return mean, std
    assumed = "ImageNet's normalisation is" if channels == 3 else "pixels in 0..1 are"
    log(f"note: {folder}: has no normalisation for {channels} channels: {assumed} assumed")
    if channels == 3:
        return IMAGENET_MEAN, IMAGENET_STD
    return (0.0,) * channels, (1.0,) * channels


def _transform_names(content: Any) -> list[str]:
    """Return the names of the transforms in a file of albumentations; none if it is invalid."""
    try:
        transforms = content["transform"]["transforms"]
        return [str(each["__class_fullname__"]).rpartition(".")[2] for each in transforms]
    except (LookupError, TypeError):
        return []
