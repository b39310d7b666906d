"""Prediction of many images: in this process, or on a Ray cluster."""
