"""Readers of georeferenced rasters and band stacks."""
