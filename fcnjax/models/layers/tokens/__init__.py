"""Tokens, patches and positions of vision transformers."""
