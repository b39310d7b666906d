"""Tiled prediction of images that are too large for the device, and of rasters."""
