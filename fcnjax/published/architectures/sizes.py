"""Sizes in the `config.json` of vision transformers: a number, or a height and a width."""

import math

from fcnjax.errors import UserError
from fcnjax.published.architecture import PublishedConfig


def read_sides(config: PublishedConfig, name: str, default: int) -> tuple[int, int]:
    """Return a height and a width.

    Raises:
        UserError: The value is neither a number nor a list of two.
    """
    if isinstance(config.content.get(name), list):
        sides = config.integers(name)
        if len(sides) != 2:
            raise UserError(f"{config.where}: {name} has {len(sides)} entries; valid: 2")
        return sides
    side = config.integer(name, default)
    return side, side


def read_square(config: PublishedConfig, name: str, default: int) -> int:
    """Return the side of a square.

    Raises:
        UserError: The value has two different sides, or none above 0.
    """
    height, width = read_sides(config, name, default)
    if height != width or height < 1:
        raise UserError(f"{config.where}: {name} is {height}, {width}; supported: squares")
    return height


def read_grid(config: PublishedConfig, size: int, patch: int) -> tuple[tuple[int, int], int]:
    """Return the grid of the patches that the model was made for, and the side of a patch.

    Args:
        config: With `image_size` and `patch_size`.
        size: The default of `image_size`.
        patch: The default of `patch_size`.

    Raises:
        UserError: The grid is empty, or patches are no squares.
    """
    side = read_square(config, "patch_size", patch)
    height, width = read_sides(config, "image_size", size)
    if min(height, width) < side:
        raise UserError(f"{config.where}: image_size is {height}, {width}: below patch_size")
    return (height // side, width // side), side


def square_side(config: PublishedConfig, grid: tuple[int, int]) -> int:
    """Return the side of the square grid into which transformers puts position embeddings.

    Raises:
        UserError: Their number is no square.
    """
    count = grid[0] * grid[1]
    side = math.isqrt(count)
    if side**2 != count:
        raise UserError(
            f"{config.where}: image_size gives {grid[0]} x {grid[1]} position embeddings; "
            "supported: square numbers"
        )
    return side
