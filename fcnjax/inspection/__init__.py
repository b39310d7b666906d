"""Descriptions of models: summaries, receptive fields, traces and plans for absent devices."""
