"""Experiment configs: their schema, and strict loading, overriding and comparison."""

from fcnjax.config.channels import channel_names
from fcnjax.config.flatten import differences, flatten, tuples
from fcnjax.config.load import CONFIG_FOLDERS, load_config, load_given, parse_arg
from fcnjax.config.overrides import override, set_value
from fcnjax.config.schema import default_config

__all__ = [
    "CONFIG_FOLDERS",
    "channel_names",
    "default_config",
    "differences",
    "flatten",
    "load_config",
    "load_given",
    "override",
    "parse_arg",
    "set_value",
    "tuples",
]
