"""Decoders: from an encoder's feature pyramid to one feature map, or to the logits of each class.

`decoder.py` has their base class, and `table.py` lists them.
"""
