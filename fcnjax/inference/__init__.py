"""Inference: load a trained model with `load(workdir)` and predict images with it."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "Model",
    "Prediction",
    "Predictor",
    "Request",
    "load",
    "load_variables",
    "make_model",
]

if TYPE_CHECKING:
    from fcnjax.inference.load_model import load, load_variables, make_model
    from fcnjax.inference.model import Model, Prediction
    from fcnjax.inference.request import Predictor, Request

_MODULES = {
    "Model": "model",
    "Prediction": "model",
    "Predictor": "request",
    "Request": "request",
    "load": "load_model",
    "load_variables": "load_model",
    "make_model": "load_model",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the help of commands reads tables of outputs without JAX.
    if name in _MODULES:
        return getattr(importlib.import_module(f"fcnjax.inference.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'fcnjax.inference' has no attribute {name!r}")
