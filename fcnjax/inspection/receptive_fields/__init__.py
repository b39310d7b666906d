"""Theoretical and effective receptive fields of a model."""
