"""Annotations of objects as labelling tools export them: parsing, drawing and notes."""
