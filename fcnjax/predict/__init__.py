"""From a checkpoint to masks: `load(workdir)`, and `fcnjax predict`."""

from fcnjax.predict.arguments import add_model_arguments, parse_step
from fcnjax.predict.model import Model, Prediction, load, load_variables

__all__ = [
    "Model",
    "Prediction",
    "add_model_arguments",
    "load",
    "load_variables",
    "parse_step",
]
