"""The schema of a config: every key once, in `fcnjax.config.sections`.

The defaults, the checks of ranges, the lists of keys that may change, `fcnjax config` and
docs/config.md are made from it.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict, config_dict

from fcnjax.config.key import Key, Scope
from fcnjax.config.sections.augment import AUGMENT
from fcnjax.config.sections.data import DATA
from fcnjax.config.sections.loss import LOSS
from fcnjax.config.sections.model import MODEL
from fcnjax.config.sections.optim import OPTIM
from fcnjax.config.sections.plan import PLAN
from fcnjax.config.sections.run import EVAL, MESH, TRAIN

SECTIONS: Mapping[str, Mapping[str, Key]] = MappingProxyType(
    {
        "model": MODEL,
        "data": DATA,
        "augment": AUGMENT,
        "loss": LOSS,
        "optim": OPTIM,
        "train": TRAIN,
        "eval": EVAL,
        "mesh": MESH,
        "plan": PLAN,
    }
)
# All keys by their full names, such as `data.split.by`.
KEYS: Mapping[str, Key] = MappingProxyType(
    {f"{section}.{name}": key for section, keys in SECTIONS.items() for name, key in keys.items()}
)


def default_config() -> ConfigDict:
    """Return a config of defaults. None leaves a choice to the code that uses the key."""
    tree: dict[str, Any] = {}
    for name, key in KEYS.items():
        *sections, leaf = name.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        is_open = key.default is None
        node[leaf] = config_dict.placeholder(key.value_type) if is_open else key.default
    return ConfigDict(tree).lock()


def keys_with(scope: Scope) -> tuple[str, ...]:
    """Return the full names of the keys with a scope."""
    return tuple(name for name, key in KEYS.items() if scope in key.scope)
