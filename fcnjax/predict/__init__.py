"""From a checkpoint to masks: `load(workdir)`, and `fcnjax predict`."""

from fcnjax.predict.model import Model, Prediction, load, load_variables, parse_step

__all__ = ["Model", "Prediction", "load", "load_variables", "parse_step"]
