"""Rates that fall with depth: the first layers of an encoder, which know most, move least."""

import re
from collections.abc import Iterable

from ml_collections import ConfigDict

from fcnjax.errors import UserError

# How the blocks of an encoder are named: by stage and place, or by place alone. One that is named
# otherwise has no depth here.
BLOCK = re.compile(r"(?:stage|layer|block)(\d+)(?:_(?:block|conv|layer)?(\d+))?/")
# What stands before a stage (its down-sampling, or the norm of it), and so moves with its first
# block; and what stands after its blocks.
BEFORE, AFTER = re.compile(r"(?:down|embed)(\d+)(?:_norm)?/"), re.compile(r"stage(\d+)_norm/")
TRANSITION = re.compile(r"transition(\d+)_\w+/")  # after the stage of that number
FIRST, LAST = re.compile(r"(?:stem|conv)\w*/"), re.compile(r"(?:last|norm5)/")


def depth_factors(config: ConfigDict, paths: Iterable[str]) -> dict[str, float]:
    """`optim.layer_decay` to the power of how far from its end a parameter of the encoder lies.

    As of BEiT (Bao et al. 2022, arXiv:2106.08254): of n blocks the last has the decay to the power
    of 1, the first n, and the stem n + 1. A decoder has 1 throughout.

    Args:
        config: The whole config.
        paths: All parameters of the model.

    Returns:
        A factor in 0..1 for each parameter of the encoder.

    Raises:
        UserError: The names of the encoder do not tell its blocks.
    """
    own = [path.removeprefix("encoder/") for path in paths if path.startswith("encoder/")]
    places = {path: _place(path) for path in own}
    unknown = [path for path, place in places.items() if place is None]
    blocks = sorted({place for path, place in places.items() if BLOCK.match(path)})
    if unknown or (own and not blocks):
        raise UserError(
            "config.optim.layer_decay: the blocks of the encoder "
            f"{config.model.encoder} are not known by their names"
            f"{(unknown and f' ({unknown[0]})') or ''}; valid: 1 (none), or the encoders convnext, "
            "mit, resnet, vgg, vanilla, densenet, mobilenet and efficientnet"
        )
    decay, count = config.optim.layer_decay, len(blocks)

    def depth(place: tuple[float, float]) -> int:
        """0 for the stem, 1 for the first block, n for the last."""
        if place < blocks[0]:
            return 0
        return sum(block <= place for block in blocks) + (place[1] == -1)

    return {f"encoder/{path}": decay ** (count + 1 - depth(places[path])) for path in own}


def _place(path: str) -> tuple[float, float] | None:
    """Where a parameter stands, as its stage and its place there; None where that is not known."""
    if found := BLOCK.match(path):
        stage, place = found.groups()
        return (int(stage), int(place)) if place else (0, int(stage))
    if found := BEFORE.match(path):
        return (int(found[1]), -1)
    if found := AFTER.match(path):
        return (int(found[1]), 1e3)
    if found := TRANSITION.match(path):
        return (int(found[1]), 1e3)
    if FIRST.match(path):
        return (-1, 0)
    return (1e3, 0) if LAST.match(path) else None
