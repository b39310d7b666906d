"""Prediction of videos and volumes."""
