"""Torch's names of the layers of our models, in the files that others publish."""
