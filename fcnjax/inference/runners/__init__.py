"""Runners of a prediction: this process, or Ray."""
