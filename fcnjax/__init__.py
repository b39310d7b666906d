"""Fully convolutional encoder-decoders for semantic image segmentation on JAX and Flax.

The public API:

- `train(config, workdir)` trains a model and returns its metrics.
- `evaluate(model)` scores it on the images that its run held out.
- `predict(images, model, out)` writes masks of image files.
- `load(model)` returns a model that predicts arrays: `load(model)(image).mask`.
- `build_model(config)` returns the Flax module that a config describes.
- `load_config(spec, overrides)` reads a config.

Errors caused by user input are a `UserError`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from fcnjax.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "UserError",
    "build_model",
    "evaluate",
    "load",
    "load_config",
    "predict",
    "train",
]

if TYPE_CHECKING:
    from fcnjax.config import load_config
    from fcnjax.evaluation.evaluate_model import evaluate
    from fcnjax.inference.load_model import load
    from fcnjax.inference.predict_images import predict
    from fcnjax.models import build_model
    from fcnjax.training.loop import train

_MODULES = {
    "build_model": "fcnjax.models",
    "evaluate": "fcnjax.evaluation.evaluate_model",
    "load": "fcnjax.inference.load_model",
    "load_config": "fcnjax.config",
    "predict": "fcnjax.inference.predict_images",
    "train": "fcnjax.training.loop",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import fcnjax` and `fcnjax --help` do not wait for JAX.
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'fcnjax' has no attribute {name!r}")
