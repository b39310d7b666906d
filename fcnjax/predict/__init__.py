"""From a checkpoint to masks: `load(workdir)`, and `fcnjax predict`."""

from fcnjax.predict.arguments import add_model_arguments, parse_step
from fcnjax.predict.model import Model, Prediction, load, load_variables
from fcnjax.predict.request import Predictor, Request

__all__ = [
    "Model",
    "Prediction",
    "Predictor",
    "Request",
    "add_model_arguments",
    "load",
    "load_variables",
    "parse_step",
]
