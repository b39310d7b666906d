"""`config.model.init_from=imagenet`: the usual ImageNet file of each encoder."""

from collections.abc import Mapping

from fcnjax.errors import UserError
from fcnjax.models.pretrained.sources.torchvision import FILES

NAME = "imagenet"
_TORCHVISION = "BSD-3-Clause"
# Where torchvision has none, by encoder: the source and its licence, as their pages state it.
_OTHERS: Mapping[str, tuple[str, str]] = {
    "resnet26d": ("hf://timm/resnet26d.bt_in1k", "Apache-2.0"),
    "resnet50d": ("hf://timm/resnet50d.ra2_in1k", "Apache-2.0"),
    **{
        f"mit_b{size}": (f"hf://smp-hub/mit_b{size}.imagenet", "NVIDIA, for research")
        for size in range(6)
    },
}


def imagenet_sources() -> dict[str, tuple[str, str]]:
    """Return the source of each encoder that has one, and its licence."""
    of_torchvision = {
        name: (f"torchvision://{name}/{next(iter(files))}", _TORCHVISION)
        for name, files in FILES.items()
        if next(iter(files)).startswith("IMAGENET") and not name.endswith("_bn")
    }
    return of_torchvision | _OTHERS


def imagenet_source(encoder: str, norm: str) -> tuple[str, str]:
    """Return the source of an encoder's ImageNet weights, and their licence.

    Args:
        encoder: Its name in `ENCODERS`.
        norm: Its normalisation layers; there are files of VGG with batch norm and without.

    Raises:
        UserError: None is known; lists the encoders that have one.
    """
    sources = imagenet_sources()
    if encoder not in sources:
        raise UserError(
            f"config.model.init_from: no file of ImageNet weights is known for encoder {encoder}; "
            f"encoders that have one: {', '.join(sources)}"
        )
    if norm == "batch" and (with_norm := f"{encoder}_bn") in FILES:
        return f"torchvision://{with_norm}/{next(iter(FILES[with_norm]))}", _TORCHVISION
    return sources[encoder]
