"""Configs of experiments: their schema, loading, overrides, checks and comparison."""

from fcnjax.config.channels import channel_names
from fcnjax.config.checks import check_section, check_value, is_read, refuse_unread_keys
from fcnjax.config.flatten import differences, flatten, tuples
from fcnjax.config.key import Scope
from fcnjax.config.load import CONFIG_FOLDERS, load_command_config, load_config, parse_arg
from fcnjax.config.open_keys import close, leave_open, left_open, open_keys
from fcnjax.config.overrides import override, set_value
from fcnjax.config.schema import default_config, keys_with
from fcnjax.config.sections.plan import PLANNED

__all__ = [
    "CONFIG_FOLDERS",
    "PLANNED",
    "Scope",
    "channel_names",
    "check_section",
    "check_value",
    "close",
    "default_config",
    "differences",
    "flatten",
    "is_read",
    "keys_with",
    "leave_open",
    "left_open",
    "load_command_config",
    "load_config",
    "open_keys",
    "override",
    "parse_arg",
    "refuse_unread_keys",
    "set_value",
    "tuples",
]
