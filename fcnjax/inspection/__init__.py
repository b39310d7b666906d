"""Descriptions of examples and models: sheets, summaries, receptive fields, traces and plans."""
