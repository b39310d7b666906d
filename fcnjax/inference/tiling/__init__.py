"""Prediction of images that are larger than the device can take at once."""
