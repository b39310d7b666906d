"""Traced computations of models: their steps, and the pixels that a value depends on."""
