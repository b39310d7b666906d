"""Pooling that honours the extent of a feature map."""
