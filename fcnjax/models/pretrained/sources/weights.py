"""What a source of weights gives."""

from dataclasses import dataclass
from pathlib import Path

from fcnjax.io.atomic_files import cache_dir

# Of nearly all weights trained on ImageNet; of pixels in 0..1.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Weights:
    """Weights that are on this machine.

    Attributes:
        source: Where they came from, as the user gave it.
        path: A file of weights; the folder, where they are a model of fcnjax.
        is_model: Whether they are a model of fcnjax (a workdir, or what `fcnjax publish` made),
            with a config of its own.
        mean: Of pixels scaled to 0..1, a value a channel, as the weights were trained; None where
            nothing tells.
        std: As `mean`.
    """

    source: str
    path: Path
    is_model: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def weights_folder() -> Path:
    """Where downloaded and converted weights are kept."""
    return cache_dir() / "weights"
