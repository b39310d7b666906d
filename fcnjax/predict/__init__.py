"""From a checkpoint to masks: `load(workdir)`, and `fcnjax predict`."""

from fcnjax.predict.arguments import add_model_arguments, parse_step
from fcnjax.predict.load import load, load_variables, make_model
from fcnjax.predict.model import Model, Prediction
from fcnjax.predict.request import Predictor, Request

__all__ = [
    "Model",
    "Prediction",
    "Predictor",
    "Request",
    "add_model_arguments",
    "load",
    "load_variables",
    "make_model",
    "parse_step",
]
