"""Where the layers of LR-ASPP lie in the files of torchvision."""

from flax import linen as nn

Path = tuple[str, ...]
_LAYERS = {
    ("project", "conv"): "cbr.0",
    ("project", "norm"): "cbr.1",
    ("gate",): "scale.1",  # a pooling comes first
    ("low_score",): "low_classifier",
    ("high_score",): "high_classifier",
}


def torchvision_lraspp(decoder: nn.Module, path: Path) -> str | None:
    """Of torchvision's LR-ASPP."""
    del decoder
    return f"classifier.{_LAYERS[path]}" if path in _LAYERS else None
