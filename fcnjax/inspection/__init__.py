"""Descriptions of training examples and models: summaries, receptive fields, traces and plans for absent devices."""
