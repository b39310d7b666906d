"""Inference: load a trained model with `load(workdir)` and predict images with it."""

from fcnjax.inference.load import load, load_variables, make_model, parse_step
from fcnjax.inference.model import Model, Prediction
from fcnjax.inference.request import Predictor, Request

__all__ = [
    "Model",
    "Prediction",
    "Predictor",
    "Request",
    "load",
    "load_variables",
    "make_model",
    "parse_step",
]
