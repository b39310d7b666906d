"""Encoders: from an image to a pyramid of features.

Each is a Linen module that declares `strides` and `channels`, shallow to deep, and returns one
feature map for each. The fields `norm`, `activation` and `dtype` are common to all.
"""
