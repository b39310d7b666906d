"""Decoders of image file formats."""
