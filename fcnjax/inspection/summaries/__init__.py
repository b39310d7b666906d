"""Summaries of models for `fcnjax models`: size, layers and features.

Sizes are read off the traced computation; nothing is computed or compiled for them. Only
`weights.py` reads workdirs and files of weights.
"""
