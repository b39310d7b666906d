"""From a checkpoint to masks: `load(workdir)`, and `fcnjax predict`."""

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
