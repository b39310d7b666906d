"""Readers of image files, rasters and volumes."""
