"""Frozen parts of a model, and factors of the learning rates of parts.

A part is a regular expression that matches the path of a parameter, such as
`encoder/layer1_0/conv1/norm/scale`, from its start to the end of a name: `encoder`,
`encoder/layer[12]_.*`, `.*/norm`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from fcnjax.errors import UserError, join_names
from fcnjax.optim.checks import require

Tree = Any
MAX_LISTED = 12  # names in an error
# The names of an encoder's blocks: stage and index, or the index alone.
BLOCK = re.compile(r"(?:stage|layer|block)(\d+)(?:_(?:block|conv|layer)?(\d+))?/")
# Down-sampling and its norm before a stage, which have the rate of its first block, and the norm
# after its blocks.
BEFORE, AFTER = re.compile(r"(?:down|embed)(\d+)(?:_norm)?/"), re.compile(r"stage(\d+)_norm/")
TRANSITION = re.compile(r"transition(\d+)_\w+/")  # follows the stage of that number
FIRST, LAST = re.compile(r"(?:stem|conv)\w*/"), re.compile(r"(?:last|norm5)/")


def path_of(path: tuple) -> str:
    """Return the path of a parameter, with its names joined by slashes."""
    return "/".join(str(part.key) for part in path)


def paths_of(params: Tree) -> list[str]:
    """Return the paths of all parameters in their order."""
    return [path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _matches(pattern: str, path: str) -> bool:
    return re.match(f"(?:{pattern})(?:/|$)", path) is not None


def is_frozen(config: ConfigDict, path: str) -> bool:
    """Return whether a parameter belongs to a part in `optim.freeze`."""
    return any(_matches(pattern, path) for pattern in config.optim.freeze)


def make_trainable_mask(config: ConfigDict) -> Callable[[Tree], Tree] | None:
    """Return a function of the parameters that returns whether each is trained; None if all are."""
    if not config.optim.freeze:
        return None

    def trainable_mask(params: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: not is_frozen(config, path_of(path)), params
        )

    return trainable_mask


def make_frozen_norms(config: ConfigDict) -> Callable[[str], bool] | None:
    """Return a function of a batch norm's path that returns whether it stays in inference mode.

    With `optim.freeze_norm`, all of them do; otherwise those whose scale and bias are frozen.

    Returns:
        The function; None if all batch norms are trained.
    """
    if config.optim.freeze_norm:
        return lambda path: True
    if not config.optim.freeze:
        return None
    return lambda path: all(is_frozen(config, f"{path}/{name}") for name in ("scale", "bias"))


def scale_by_part(config: ConfigDict) -> list[optax.GradientTransformation]:
    """Return the transformation that multiplies updates, and so the learning rates of parts.

    The factor is that of the last matching entry of `optim.multipliers`, times that of
    `optim.layer_decay`.

    Returns:
        A list of one transformation; empty if all factors are 1.
    """
    if config.optim.layer_decay == 1 and not config.optim.multipliers:
        return []

    def scale(updates: Tree, params: Tree) -> Tree:
        factors = rate_factors(config, paths_of(params))
        return jax.tree_util.tree_map_with_path(
            lambda path, update: update * factors[path_of(path)], updates
        )

    return [optax.stateless(scale)]


def rate_factors(config: ConfigDict, paths: Sequence[str]) -> dict[str, float]:
    """Return the factor of each parameter's learning rate.

    Args:
        config: The config.
        paths: The paths of all parameters of the model.

    Raises:
        UserError: `optim.layer_decay` is set, and the depth of the encoder's layers is unknown.
    """
    factors = dict.fromkeys(paths, 1.0)
    for pattern, factor in config.optim.multipliers:
        factors |= {path: float(factor) for path in paths if _matches(pattern, path)}
    if config.optim.layer_decay < 1:
        for path, factor in depth_factors(config, paths).items():
            factors[path] *= factor
    return factors


def check_parts(config: ConfigDict, shapes: Callable[[], Tree]) -> list[str]:
    """Check the parts that are frozen or have other learning rates, and describe them.

    Args:
        config: The config.
        shapes: Returns the shapes of the parameters; called only if needed, as it takes a moment.

    Returns:
        A phrase for each setting.

    Raises:
        UserError: A pattern matches no parameter, or nothing is left to train.
    """
    optim = config.optim
    phrases = ["all batch norms in inference mode"] if optim.freeze_norm else []
    if not optim.freeze and not optim.multipliers and optim.layer_decay == 1:
        return phrases
    params = shapes()
    paths, sizes = paths_of(params), [leaf.size for leaf in jax.tree.leaves(params)]
    for key, patterns in (
        ("optim.freeze", optim.freeze),
        ("optim.multipliers", [pattern for pattern, _ in optim.multipliers]),
    ):
        for pattern in patterns:
            if not any(_matches(pattern, path) for path in paths):
                raise UserError(
                    f"config.{key}: {pattern!r} is not a part; {_valid(pattern, paths)}"
                )
    frozen = [is_frozen(config, path) for path in paths]
    if all(frozen):
        raise UserError(f"config.optim.freeze: {tuple(optim.freeze)} leaves nothing to train")
    if any(frozen):
        count = sum(size for size, is_still in zip(sizes, frozen, strict=True) if is_still)
        phrases.append(f"frozen: {', '.join(optim.freeze)} ({count / 1e6:.2f} M parameters)")
    if optim.multipliers:
        pairs = ", ".join(f"{pattern} x {factor:g}" for pattern, factor in optim.multipliers)
        phrases.append(f"rates: {pairs}")
    if optim.layer_decay < 1:
        lowest = min(depth_factors(config, paths).values())
        phrases.append(
            f"rates of the encoder x {lowest:.3g} (first) to {optim.layer_decay:g} (last)"
        )
    return phrases


def _valid(pattern: str, paths: Iterable[str]) -> str:
    """Return the valid parts at the depth of a pattern."""
    first = pattern.split("/")[0]
    tops = dict.fromkeys(path.split("/")[0] for path in paths)
    if first not in tops or "/" not in pattern:
        return (
            f"valid: {', '.join(tops)}, or a path below one of them, such as {_first_nested(paths)}"
        )
    below = dict.fromkeys("/".join(p.split("/")[:2]) for p in paths if p.startswith(f"{first}/"))
    return f"valid: {first}, {join_names(below, MAX_LISTED)}"


def _first_nested(paths: Iterable[str]) -> str:
    """Return the first two names of the first path."""
    return "/".join(next(iter(paths)).split("/")[:2])


def check_patterns(config: ConfigDict) -> None:
    """Raise UserError if a part is not a regular expression."""
    _check_patterns("optim.freeze", config.optim.freeze)
    _check_patterns("optim.multipliers", [pattern for pattern, _ in config.optim.multipliers])


def _check_patterns(key: str, patterns: Iterable[Any]) -> None:
    for pattern in patterns:
        require(isinstance(pattern, str) and pattern, key, repr(pattern), "the path of a part")
        try:
            re.compile(pattern)
        # OverflowError: a repetition beyond 32 bits. RecursionError: thousands of brackets.
        except (re.error, OverflowError, RecursionError) as error:
            raise UserError(
                f"config.{key}: {pattern!r} is not a regular expression: {error}"
            ) from None


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
    positions = {path: _block_position(path) for path in encoder}
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


def _block_position(path: str) -> tuple[float, float] | None:
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
