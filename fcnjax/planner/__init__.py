"""The planner: chooses keys of a config from the images, the labels, the devices and the time."""

from fcnjax.planner.choice import Choice, describe_choice
from fcnjax.planner.config_file import config_text
from fcnjax.planner.plan import apply_plan

__all__ = ["Choice", "apply_plan", "config_text", "describe_choice"]
