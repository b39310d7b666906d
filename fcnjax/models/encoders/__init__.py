"""Encoders: from an image to a feature pyramid.

Each is a Linen module that declares `strides` and `channels`, shallow to deep, and returns one
feature map for each. `table.py` lists them.
"""
