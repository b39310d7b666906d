"""Convolutions that honour the extent of a feature map."""
