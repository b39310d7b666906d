"""Attention of vision transformers, and their blocks."""
