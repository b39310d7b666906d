"""Models of torchvision, timm and segmentation_models.pytorch (smp), built from ours."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from fcnjax.config import default_config
from fcnjax.errors import choose, unknown
from fcnjax.models.build import build_model
from fcnjax.models.classifier import build_classifier
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained.names import TensorName, encoder_names, rest_names
from fcnjax.models.segmenter import Segmenter

_TIMM_NAMES = {
    "mobilenetv2_100": "mobilenet_v2",
    "mobilenetv3_small_100": "mobilenet_v3_small",
    "mobilenetv3_large_100": "mobilenet_v3_large",
}
# Our decoder, and the keys of `config.model` that give it smp's defaults.
_SMP_DECODERS = {
    "Unet": ("unet_smp", {}),
    "UnetPlusPlus": ("unetplusplus", {}),
    "Linknet": ("linknet", {}),
    "FPN": ("fpn", {}),
    "PSPNet": ("pspnet", {}),
    "DeepLabV3": ("deeplabv3", {"output_stride": 8, "align_corners": True}),
    "DeepLabV3Plus": ("deeplabv3plus", {"output_stride": 16}),
    "UPerNet": ("upernet", {}),
    "Segformer": ("segformer", {}),
}
_TORCHVISION_DECODERS = {"fcn": "fcn_head", "deeplabv3": "deeplabv3", "lraspp": "lraspp"}
_TORCHVISION_SEGMENTER = re.compile(rf"({'|'.join(_TORCHVISION_DECODERS)})_(\w+)")


@dataclass(frozen=True)
class Reference:
    """A model of another library, built from ours.

    Attributes:
        model: Our module, which computes the same function.
        encoder: Its encoder, by name in `ENCODERS`.
        layouts: The names of its tensors in the other library.
        call: From the bound model and images `[B, H, W, C]` to the arrays that the other returns,
            with their axes in torch's order.
        unused: Parameters that the other has but does not use, and ours leaves out.
        config: A config of fcnjax that describes a segmentation model; None for others.
    """

    model: nn.Module
    encoder: str
    layouts: tuple[TensorName, ...]
    call: Callable[[Any, jax.Array], list[jax.Array]]
    unused: int = 0
    config: ConfigDict | None = None

    def run(self, variables: Mapping[str, Any], image: jax.Array) -> list[jax.Array]:
        """Compute the arrays that the other library returns."""
        return self.model.apply(variables, image, method=self.call)

    def init(self, image: jax.Array) -> Mapping[str, Any]:
        """Initialise variables for images."""
        return self.model.init(jax.random.key(0), image, method=self.call)


@dataclass(frozen=True)
class _Encoder:
    """The encoder of another library, built from ours.

    Attributes:
        name: In `ENCODERS`.
        layout: In `encoder_layouts(name)`.
        options: Keys of `config.model`.
        arguments: Arguments of the encoder that have no key.
        prefix: The prefix of its tensors' names.
        style: A name in `STYLES`.
    """

    name: str
    layout: str
    options: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    style: str = "classifier"

    def __post_init__(self):
        choose(ENCODERS, self.name, "encoder of a reference model")

    def with_options(self, options: Mapping[str, Any]) -> "_Encoder":
        return replace(self, options={**self.options, **options})

    def tensor_names(self, module: nn.Module, root: tuple[str, ...] = ()) -> TensorName:
        return encoder_names(module, self.name, self.layout, self.style, self.prefix, root)

    def module_arguments(self) -> dict[str, Any]:
        options = dict(self.options)
        norm = {"norm": options.pop("encoder_norm")} if "encoder_norm" in options else {}
        return ENCODERS[self.name].arguments(options, norm) | {**self.arguments}


def reference(
    name: str,
    channels: int,
    shapes: Sequence[Sequence[int]],
    options: Mapping[str, Any] | None = None,
) -> Reference:
    """Build the model that another library calls `name`.

    Args:
        name: `torchvision/MODEL`, `timm/MODEL` or `smp/ARCHITECTURE/ENCODER`.
        channels: Channels of its images.
        shapes: The shapes of its outputs: one `[B, classes]` of a classifier, one
            `[B, classes, H, W]` of a segmentation model, or an encoder's pyramid, as timm's
            `features_only` returns it.
        options: Keys of `config.model` by which the model differs from the library's default.

    Raises:
        UserError: An unknown name.
    """
    library, _, rest = name.partition("/")
    classes, options = shapes[0][1], options or {}
    match library, rest.split("/"):
        case "smp", [architecture, encoder_name] if architecture in _SMP_DECODERS:
            encoder = _smp_encoder(encoder_name).with_options(options)
            decoder, defaults = _SMP_DECODERS[architecture]
            return _segmenter(encoder, decoder, defaults, (channels, classes), "smp")
        case "torchvision", [model] if match := _TORCHVISION_SEGMENTER.fullmatch(model):
            architecture, encoder_name = match.groups()
            encoder = _torchvision_encoder(encoder_name).with_options(options)
            return _torchvision_segmenter(architecture, encoder, (channels, classes))
        case "torchvision", [model]:
            encoder, style = _torchvision_encoder(model), "classifier"
        case "timm", [model]:
            encoder, style = _timm_encoder(model), "features_only"
        case _:
            raise unknown("reference model", name, ["torchvision/...", "timm/...", "smp/..."])
    encoder = encoder.with_options(options)
    if len(shapes[0]) == 2:
        return _classifier(encoder, classes)
    return _features(replace(encoder, style=style))


def _plain_encoder(name: str, library: str) -> _Encoder:
    """Return an encoder that has the same name in all libraries; VGG's may end in `_bn`."""
    bare = name.removesuffix("_bn")
    if not bare.startswith("vgg"):
        return _Encoder(name, library)
    if name.endswith("_bn"):
        return _Encoder(bare, f"{library}_bn")
    return _Encoder(bare, library, {"encoder_norm": "none"})


def _torchvision_encoder(name: str) -> _Encoder:
    if name == "mobilenet_v2":
        return _Encoder(name, "torchvision", {"encoder_form": "smp"})
    if re.fullmatch(r"efficientnet_b[567]", name):
        return _Encoder(name, "torchvision", arguments={"epsilon": 1e-3})
    return _plain_encoder(name, "torchvision")


def _timm_encoder(name: str) -> _Encoder:
    name = _TIMM_NAMES.get(name, name)
    if name.startswith(("mobilenet_v3", "densenet")):
        return _Encoder(name, "timm", {"encoder_form": "timm"})
    return _plain_encoder(name, "timm")


def _smp_encoder(name: str) -> _Encoder:
    if name.startswith("tu-"):
        encoder = _timm_encoder(name.removeprefix("tu-"))
        return replace(encoder, prefix="encoder.model.", style="features_only")
    if name.startswith("mit_"):
        encoder = _Encoder(name, "smp")
    elif name == "mobilenet_v2":
        encoder = _Encoder(name, "torchvision", {"encoder_form": "smp"})
    elif name.startswith("efficientnet-"):
        encoder = _Encoder(name.replace("-", "_"), "smp", {"encoder_form": "smp"})
    else:
        encoder = _plain_encoder(name, "torchvision")
    if "dilation_rule" in ENCODERS[encoder.name].options:
        encoder = encoder.with_options({"dilation_rule": "smp"})
    return replace(encoder, prefix="encoder.")


def _torchvision_segmenter(
    architecture: str, encoder: _Encoder, channels: tuple[int, int]
) -> Reference:
    is_mobile = encoder.name.startswith("mobilenet")
    options: dict[str, Any] = {"output_stride": 16 if is_mobile else 8}
    if architecture != "lraspp":
        options |= {"aux_head": True} | ({"aux_feature": -3} if is_mobile else {})
    style = "backbone" if is_mobile else "classifier"
    encoder = replace(encoder, prefix="backbone.", style=style)
    decoder = _TORCHVISION_DECODERS[architecture]
    return _segmenter(encoder, decoder, options, channels, "torchvision")


def _segmenter(
    encoder: _Encoder,
    decoder: str,
    options: Mapping[str, Any],
    channels: tuple[int, int],
    library: str,
) -> Reference:
    """Build a segmentation model for numbers of channels of the image and of the logits."""
    in_channels, classes = channels
    config = default_config()
    config.data.class_names = tuple(map(str, range(max(classes, 2))))
    if classes == 1:
        config.model.head = "sigmoid"
    bands = ",".join(f"B{i}" for i in range(1, in_channels + 1))
    config.data.channels = {1: "L", 3: "RGB"}.get(in_channels, bands)
    valid = ENCODERS[encoder.name].options
    options = {k: v for k, v in options.items() if k != "output_stride" or k in valid}
    config.model.update({"encoder": encoder.name, "decoder": decoder})
    for key, value in {**options, **encoder.options}.items():
        config.model[key] = tuple(value) if isinstance(value, list) else value
    model = build_model(config)
    rest = rest_names(model, (encoder.name, decoder))[library]
    return Reference(
        model,
        encoder.name,
        (encoder.tensor_names(model.encoder, ("encoder",)), rest),
        lambda model, image: [model(image)["logits"].transpose(0, 3, 1, 2)],
        _count_unused(model, encoder, decoder, in_channels) if library == "smp" else 0,
        config,
    )


def _count_unused(model: Segmenter, encoder: _Encoder, decoder: str, channels: int) -> int:
    """Return the number of parameters that smp has but does not use.

    They are the convolution of EfficientNet's classifier, U-Net++'s centre over VGG, and in the
    U-Nets the attention before a step without a skip.
    """
    if getattr(model.decoder, "attention", None) == "scse":
        channels = model.decoder.widths[-2]  # the last step has no skip
        squeeze = max(channels // 16, 1)
        return 2 * channels * squeeze + squeeze + 2 * channels + 1
    if decoder == "unetplusplus" and encoder.name.startswith("vgg"):
        width = model.encoder.channels[-1]
        return 2 * (9 * width**2 + 2 * width)
    if encoder.layout != "smp" or not encoder.name.startswith("efficientnet"):
        return 0
    image = FeatureMap(jnp.zeros((1, 32, 32, channels)))

    def count(**options: Any) -> int:
        module = ENCODERS[encoder.name].make(**options)
        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), image, False))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))

    return count(head=True) - count()


def _classifier(encoder: _Encoder, classes: int) -> Reference:
    model = build_classifier(encoder.name, classes, **encoder.module_arguments())
    rest = rest_names(model, (encoder.name, None))[encoder.layout]
    layouts = (encoder.tensor_names(model.encoder, ("encoder",)), rest)
    return Reference(model, encoder.name, layouts, lambda model, image: [model(image)])


def _features(encoder: _Encoder) -> Reference:
    model = ENCODERS[encoder.name].make(**encoder.module_arguments())

    def call(model: nn.Module, image: jax.Array) -> list[jax.Array]:
        features = model(FeatureMap(image), False)
        return [feature.data.transpose(0, 3, 1, 2) for feature in features]

    return Reference(model, encoder.name, (encoder.tensor_names(model),), call)
