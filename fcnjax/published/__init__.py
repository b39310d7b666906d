"""Trained segmentation models of other libraries, built from ours.

`find_published` finds a folder in the layout of transformers or of segmentation_models.pytorch, or
a model of torchvision; `read_published` turns it into a config of fcnjax and variables. `kinds.py`
has the table of the layouts, and `architectures/` a file for each family of transformers' models.
`catalogue.py` lists well-known models.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcnjax.published.kinds import Published, find_published, is_external
    from fcnjax.published.model import read_published

__all__ = [
    "Published",
    "find_published",
    "is_external",
    "read_published",
]

_MODULES = {
    "Published": "kinds",
    "find_published": "kinds",
    "is_external": "kinds",
    "read_published": "model",
}


def __getattr__(name: str) -> Any:
    # Imported on first use, so that the catalogue does not wait for JAX.
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
