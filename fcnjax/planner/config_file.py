"""A planned config as a Python file."""

import json
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from fcnjax.config import default_config, flatten
from fcnjax.planner.choice import Choice

_HEADER = '''\
"""A config for {dataset}, planned for a training of {minutes:g} minutes.

Command: fcnjax train --config={name} --workdir=runs/mine
"""

from fcnjax.config import default_config


def get_config(arg=None):
    config = default_config()
'''


def config_text(requested: ConfigDict, choices: Sequence[Choice], dataset: str, name: str) -> str:
    """Return the text of a config file with the keys of a config and those that were planned.

    Args:
        requested: The config that was planned.
        choices: What was chosen.
        dataset: The dataset, for the docstring.
        name: The name of the file, for the docstring.
    """
    defaults = flatten(default_config())
    planned = {key for choice in choices for key in choice.values}
    lines = [
        f"    config.{key} = {_source(value)}"
        for key, value in flatten(requested).items()
        if value != defaults[key] and key not in planned and not key.startswith("plan.")
    ]
    for choice in choices:
        lines.append(f"    # {choice.reason[:1].upper()}{choice.reason[1:]}.")
        lines += [f"    config.{key} = {_source(value)}" for key, value in choice.values.items()]
    # Any folder's name must be harmless within the docstring.
    dataset, name = (ascii(text)[1:-1].replace('"', "'") for text in (dataset, name))
    header = _HEADER.format(dataset=dataset, minutes=requested.plan.minutes, name=name)
    return "\n".join([header.rstrip("\n"), *lines, "    return config", ""])


def _source(value: Any) -> str:
    """Return a value of a config as Python source; a text with double quotes, in ASCII."""
    return json.dumps(value) if isinstance(value, str) else ascii(value)
