"""Readers of image files, one for each format: pixels as they are stored."""
