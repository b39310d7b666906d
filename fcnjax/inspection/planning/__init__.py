"""Ahead-of-time planning for absent devices: memory, operations, communication, batch size."""
