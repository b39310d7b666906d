"""Weights on this machine, the result of every source."""

from dataclasses import dataclass
from pathlib import Path

from fcnjax.io.atomic_files import cache_dir

# The normalisation of nearly all weights trained on ImageNet, for pixels in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Weights:
    """Weights on this machine.

    Attributes:
        source: Their source, as in `config.model.init_from`.
        path: The weight file; for a model of fcnjax, its folder.
        is_model: Whether they are a model of fcnjax (a workdir, or what `fcnjax publish` made),
            with its own config.
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
