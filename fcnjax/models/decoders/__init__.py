"""Decoders: from an encoder's pyramid to one feature map, or to the scores of each class.

Each is a Linen module with `stride`, that of its result, and `scores`, true where its result is
logits already. A `make_` function builds it over an encoder, and refuses one it cannot decode.

A decoder may declare more, which the segmenter takes into account: `takes_image` (it is also given
the image, as `image`, to know the sizes above its shallowest feature), `head_kernel` (the side of
the head's kernel, 1) and `align_corners` (how its result is enlarged to the image, False).
"""
