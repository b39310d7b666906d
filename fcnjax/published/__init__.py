"""Trained segmentation models of other libraries, built from ours.

`find_published` finds a folder in the layout of transformers or of segmentation_models.pytorch, or
a model of torchvision; `read_published` turns it into a config of fcnjax and variables. `kinds.py`
has the table of the layouts, and `architectures/` a file for each family of transformers' models.
"""

from fcnjax.published.kinds import Published, find_published, is_external
from fcnjax.published.model import read_config, read_model_folder, read_published

__all__ = [
    "Published",
    "find_published",
    "is_external",
    "read_config",
    "read_model_folder",
    "read_published",
]
