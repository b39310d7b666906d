"""The models of torchvision, timm and segmentation_models.pytorch (smp), made of ours."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcnjax.config import default_config
from fcnjax.errors import unknown
from fcnjax.models.build import build_model
from fcnjax.models.classifier import build_classifier
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained.names import PublishedLayout, encoder_form, rest_form
from fcnjax.models.segmenter import Segmenter

_TIMM_NAMES = MappingProxyType(
    {
        "mobilenetv2_100": "mobilenet_v2",
        "mobilenetv3_small_100": "mobilenet_v3_small",
        "mobilenetv3_large_100": "mobilenet_v3_large",
    }
)
# Our decoder, and the keys of `config.model` that make it smp's.
_SMP_DECODERS = MappingProxyType(
    {
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
)
_TORCHVISION_DECODERS = MappingProxyType(
    {"fcn": "fcn_head", "deeplabv3": "deeplabv3", "lraspp": "lraspp"}
)
_TORCHVISION_SEGMENTER = re.compile(rf"({'|'.join(_TORCHVISION_DECODERS)})_(\w+)")


@dataclass(frozen=True)
class Reference:
    """A model of another library, as ours.

    Attributes:
        model: Our module, of the same function.
        encoder: Its encoder, by name in `ENCODERS`.
        forms: The names of its tensors there.
        run: From the variables and images `[B, H, W, C]` to the arrays that the other returns, with
            their axes in torch's order.
        init: Draws variables for images of a shape.
        unused: Parameters of the other that nothing is computed from, and that ours leaves out.
    """

    model: nn.Module
    encoder: str
    forms: tuple[PublishedLayout, ...]
    run: Callable[[Mapping[str, Any], jax.Array], list[jax.Array]]
    init: Callable[[jax.Array], Mapping[str, Any]]
    unused: int = 0


@dataclass(frozen=True)
class _Encoder:
    """How another library's encoder is made of ours.

    Attributes:
        name: In `ENCODERS`.
        form: In `encoder_layouts(name)`.
        options: Keys of `config.model`.
        arguments: Of the encoder alone, where no key stands for them.
        prefix: Of its tensors' names.
        style: Of its tensors' names.
    """

    name: str
    form: str
    options: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    style: str = "whole"


def reference(
    name: str,
    channels: int,
    outputs: Sequence[Sequence[int]],
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Reference:
    """Makes the model that another library calls `name`.

    Args:
        name: `torchvision/MODEL`, `timm/MODEL` or `smp/ARCHITECTURE/ENCODER`.
        channels: Of its images.
        outputs: The shapes of what it returns: one `[B, classes]` of a classifier, one
            `[B, classes, H, W]` of a segmentation model, or an encoder's pyramid, as timm's
            `features_only` gives it.
        options: Keys of `config.model` by which the model differs from the library's default.

    Raises:
        UserError: A name that nothing here stands for.
    """
    library, _, rest = name.partition("/")
    classes = outputs[0][1]

    def told(encoder: _Encoder) -> _Encoder:
        return _with(encoder, options={**encoder.options, **options})

    match library, rest.split("/"):
        case "smp", [architecture, encoder] if architecture in _SMP_DECODERS:
            decoder, own = _SMP_DECODERS[architecture]
            found = told(_smp_encoder(encoder))
            return _segmenter(found, decoder, own, classes, channels, "smp")
        case "torchvision", [model] if found := _TORCHVISION_SEGMENTER.fullmatch(model):
            kind, backbone = found.groups()
            encoder = told(_torchvision_encoder(backbone))
            return _torchvision_segmenter(kind, encoder, classes, channels)
        case (("torchvision" | "timm"), [model]):
            whole = library == "torchvision"
            encoder = told((_torchvision_encoder if whole else _timm_encoder)(model))
            if len(outputs[0]) == 2:
                return _classifier(encoder, classes)
            return _features(encoder, "whole" if whole else "flattened")
    raise unknown("reference model", name, ["torchvision/...", "timm/...", "smp/..."])


def _known(name: str) -> str:
    if name not in ENCODERS:
        raise unknown("encoder of a reference model", name, ENCODERS)
    return name


def _plain_encoder(name: str, library: str) -> _Encoder:
    """An encoder that has one name in all libraries; VGG's may end in `_bn`."""
    bare = _known(name.removesuffix("_bn"))
    if not bare.startswith("vgg"):
        return _Encoder(_known(name), library)
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
    ours = _TIMM_NAMES.get(name, name)
    if ours.startswith(("mobilenet_v3", "densenet")):
        return _Encoder(ours, "timm", {"encoder_form": "timm"})
    return _plain_encoder(ours, "timm")


def _smp_encoder(name: str) -> _Encoder:
    if name.startswith("tu-"):
        found = _timm_encoder(name.removeprefix("tu-"))
        return _with(found, prefix="encoder.model.", style="flattened")
    if name.startswith("mit_"):
        found = _Encoder(_known(name), "smp")
    elif name == "mobilenet_v2":
        found = _Encoder(name, "torchvision", {"encoder_form": "smp"})
    elif name.startswith("efficientnet-"):
        found = _Encoder(_known(name.replace("-", "_")), "smp", {"encoder_form": "smp"})
    else:
        found = _plain_encoder(name, "torchvision")
    dilated = {"dilation_rule": "smp"} if "dilation_rule" in ENCODERS[found.name].options else {}
    return _with(found, options={**found.options, **dilated}, prefix="encoder.")


def _with(encoder: _Encoder, **changes: Any) -> _Encoder:
    return _Encoder(**{**vars(encoder), **changes})


def _torchvision_segmenter(kind: str, encoder: _Encoder, classes: int, channels: int) -> Reference:
    mobile = encoder.name.startswith("mobilenet")
    options: dict[str, Any] = {"output_stride": 16 if mobile else 8}
    if kind != "lraspp":
        options |= {"aux_head": True} | ({"aux_feature": -3} if mobile else {})
    encoder = _with(encoder, prefix="backbone.", style="features" if mobile else "whole")
    decoder = _TORCHVISION_DECODERS[kind]
    return _segmenter(encoder, decoder, options, classes, channels, "torchvision")


def _segmenter(
    encoder: _Encoder,
    decoder: str,
    options: Mapping[str, Any],
    classes: int,
    channels: int,
    form: str,
) -> Reference:
    config = default_config()
    config.data.class_names = tuple(map(str, range(classes)))
    bands = ",".join(f"B{i}" for i in range(1, channels + 1))
    config.data.channels = {1: "L", 3: "RGB"}.get(channels, bands)
    known = ENCODERS[encoder.name].options
    options = {k: v for k, v in options.items() if k != "output_stride" or k in known}
    config.model.update({"encoder": encoder.name, "decoder": decoder})
    for key, value in {**options, **encoder.options}.items():
        config.model[key] = tuple(value) if isinstance(value, list) else value
    model = build_model(config)
    root = ("encoder",)
    forms = (
        encoder_form(
            model.encoder, encoder.name, encoder.form, encoder.style, encoder.prefix, root
        ),
        rest_form(model, (encoder.name, decoder), form),
    )

    def run(variables: Mapping[str, Any], image: jax.Array) -> list[jax.Array]:
        return [model.apply(variables, image)["logits"].transpose(0, 3, 1, 2)]

    unused = _unused(model, encoder, decoder, channels) if form == "smp" else 0
    return Reference(
        model,
        encoder.name,
        forms,
        run,
        lambda image: model.init(jax.random.key(0), image),
        unused,
    )


def _unused(model: Segmenter, encoder: _Encoder, decoder: str, channels: int) -> int:
    """Parameters that smp keeps and computes nothing by.

    They are the convolution of EfficientNet's classifier, U-Net++'s centre over VGG, and the
    attention before a step of the U-Nets that has no skip.
    """
    if getattr(model.decoder, "attention", None) == "scse":
        channels = model.decoder.widths[-2]  # the last step has none
        squeezed = max(channels // 16, 1)
        return 2 * channels * squeezed + squeezed + 2 * channels + 1
    if decoder == "unetplusplus" and encoder.name.startswith("vgg"):
        width = model.encoder.channels[-1]
        return 2 * (9 * width**2 + 2 * width)
    if encoder.form != "smp" or not encoder.name.startswith("efficientnet"):
        return 0
    image = FeatureMap(jnp.zeros((1, 32, 32, channels)))

    def count(**options: Any) -> int:
        module = ENCODERS[encoder.name].make(**options)
        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), image, False))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))

    return count(head=True) - count()


def _arguments(encoder: _Encoder) -> dict[str, Any]:
    options = {"encoder_norm": "norm", **ENCODERS[encoder.name].options}
    return {options[key]: value for key, value in encoder.options.items()} | {**encoder.arguments}


def _classifier(encoder: _Encoder, classes: int) -> Reference:
    model = build_classifier(encoder.name, classes, **_arguments(encoder))
    forms = (
        encoder_form(model.encoder, encoder.name, encoder.form, encoder.style, root=("encoder",)),
        rest_form(model, (encoder.name, None), encoder.form),
    )
    return Reference(
        model,
        encoder.name,
        forms,
        lambda variables, image: [model.apply(variables, image)],
        lambda image: model.init(jax.random.key(0), image),
    )


def _features(encoder: _Encoder, style: str) -> Reference:
    model = ENCODERS[encoder.name].make(**_arguments(encoder))

    def run(variables: Mapping[str, Any], image: jax.Array) -> list[jax.Array]:
        features = model.apply(variables, FeatureMap(image), False)
        return [feature.data.transpose(0, 3, 1, 2) for feature in features]

    return Reference(
        model,
        encoder.name,
        (encoder_form(model, encoder.name, encoder.form, style),),
        run,
        lambda image: model.init(jax.random.key(0), FeatureMap(image), False),
    )
