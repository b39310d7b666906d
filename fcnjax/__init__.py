"""Fully convolutional encoder-decoders for semantic image segmentation on JAX and Flax.

The public API is small: `load(workdir)` gives a model that labels images, and
`build_model(config)` gives the Linen module that a config describes.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["build_model", "load"]

if TYPE_CHECKING:
    from fcnjax.inference import load
    from fcnjax.models import build_model


def __getattr__(name: str):
    # Imported on first use, so that `import fcnjax` and `fcnjax --help` do not wait for JAX.
    if name == "load":
        from fcnjax.inference import load

        return load
    if name == "build_model":
        from fcnjax.models import build_model

        return build_model
    raise AttributeError(f"module 'fcnjax' has no attribute {name!r}")
