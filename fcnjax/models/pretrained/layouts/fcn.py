"""Where the fully connected layers of FCN over VGG lie in the files of VGG's classifiers."""

from flax import linen as nn

Path = tuple[str, ...]
_TORCHVISION = {("fc6",): "classifier.0", ("fc7",): "classifier.3"}


def torchvision_vgg_fc(decoder: nn.Module, path: Path) -> str | None:
    """Of the layers that VGG's classifier has before its scores, by torchvision's names."""
    del decoder
    return _TORCHVISION.get(path)
