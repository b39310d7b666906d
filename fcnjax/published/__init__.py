"""Trained segmentation models in the layout of Hugging Face transformers, built from ours.

`read_model_folder` turns a folder with `config.json`, `preprocessor_config.json` and weights into a
config of fcnjax and variables. `architectures/` has a file for each family of models.
"""

from fcnjax.published.folder import find_weights, is_external, read_config, read_model_folder

__all__ = ["find_weights", "is_external", "read_config", "read_model_folder"]
