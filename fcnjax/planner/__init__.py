"""The planner: chooses keys of a config from the images, the labels, the devices and the time."""

from fcnjax.planner.choice import Choice, describe_choice
from fcnjax.planner.config_file import config_text
from fcnjax.planner.plan import apply_plan
from fcnjax.planner.weights_rule import MODEL_KEYS

__all__ = ["MODEL_KEYS", "Choice", "apply_plan", "config_text", "describe_choice"]
