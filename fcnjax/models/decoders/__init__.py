"""Decoders: from an encoder's pyramid to one feature map, or to the scores of each class.

Each is a Linen module with `stride`, that of its result, and `scores`, true where its result is
logits already. A `make_` function builds it over an encoder, and refuses one it cannot decode.
"""
