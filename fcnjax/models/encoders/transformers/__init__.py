"""Encoders with attention."""
