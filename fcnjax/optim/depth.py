"""Layer-wise learning rate decay: lower rates for the first layers of an encoder."""

import re
from collections.abc import Iterable

from ml_collections import ConfigDict

from fcnjax.errors import UserError

# The names of an encoder's blocks: stage and index, or the index alone.
BLOCK = re.compile(r"(?:stage|layer|block)(\d+)(?:_(?:block|conv|layer)?(\d+))?/")
# Down-sampling and its norm before a stage, which have the rate of its first block, and the norm
# after its blocks.
BEFORE, AFTER = re.compile(r"(?:down|embed)(\d+)(?:_norm)?/"), re.compile(r"stage(\d+)_norm/")
TRANSITION = re.compile(r"transition(\d+)_\w+/")  # follows the stage of that number
FIRST, LAST = re.compile(r"(?:stem|conv)\w*/"), re.compile(r"(?:last|norm5)/")


def depth_factors(config: ConfigDict, paths: Iterable[str]) -> dict[str, float]:
    """Return the factors of the learning rates by `optim.layer_decay`.

    As in BEiT (Bao et al. 2022, arXiv:2106.08254), the factor is the decay to the power of 1 for
    the last of n blocks, n for the first, and n + 1 for the stem. The decoder has the factor 1.

    Args:
        config: The config.
        paths: The paths of all parameters of the model.

    Returns:
        A factor in 0..1 for each parameter of the encoder.

    Raises:
        UserError: The names of the encoder's parameters do not show its blocks.
    """
    encoder = [path.removeprefix("encoder/") for path in paths if path.startswith("encoder/")]
    positions = {path: _position(path) for path in encoder}
    unknown = [path for path, position in positions.items() if position is None]
    blocks = sorted({position for path, position in positions.items() if BLOCK.match(path)})
    if unknown or (encoder and not blocks):
        raise UserError(
            "config.optim.layer_decay: the blocks of the encoder "
            f"{config.model.encoder} are not known by their names"
            f"{(unknown and f' ({unknown[0]})') or ''}; valid: 1 (none), or the encoders convnext, "
            "mit, resnet, vgg, vanilla, densenet, mobilenet and efficientnet"
        )
    decay, count = config.optim.layer_decay, len(blocks)

    def depth(position: tuple[float, float]) -> int:
        """Return 0 for the stem, 1 for the first block and n for the last."""
        if position < blocks[0]:
            return 0
        return sum(block <= position for block in blocks) + (position[1] == -1)

    return {f"encoder/{path}": decay ** (count + 1 - depth(positions[path])) for path in encoder}


def _position(path: str) -> tuple[float, float] | None:
    """Return the stage of a parameter and its index there; None if unknown."""
    if match := BLOCK.match(path):
        stage, index = match.groups()
        return (int(stage), int(index)) if index else (0, int(stage))
    if match := BEFORE.match(path):
        return (int(match[1]), -1)
    if match := AFTER.match(path) or TRANSITION.match(path):
        return (int(match[1]), 1e3)
    if FIRST.match(path):
        return (-1, 0)
    return (1e3, 0) if LAST.match(path) else None
