"""Parts of a model, by the paths of their parameters: their rates, and which are frozen.

A part is named by a regular expression that matches a path, as `encoder/layer1_0/conv1/norm/scale`,
from its start to the end of one of its names: `encoder`, `encoder/layer[12]_.*`, `.*/norm`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import optax
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.optim.checks import require
from fcnjax.optim.depth import depth_factors

Tree = Any
SHOWN = 12  # names listed in an error


def path_of(path: tuple) -> str:
    """The path of a leaf of the parameters, its names joined by slashes."""
    return "/".join(str(part.key) for part in path)


def paths_of(params: Tree) -> list[str]:
    """The paths of all parameters, in their order."""
    return [path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]


def _matches(pattern: str, path: str) -> bool:
    return re.match(f"(?:{pattern})(?:/|$)", path) is not None


def is_frozen(config: ConfigDict, path: str) -> bool:
    """Whether the parameter of a path is of a part in `optim.freeze`."""
    return any(_matches(pattern, path) for pattern in config.optim.freeze)


def make_trainable_mask(config: ConfigDict) -> Callable[[Tree], Tree] | None:
    """What says for each parameter whether it is trained; None where all are.

    Raises:
        UserError: `optim.freeze` has an entry that is no pattern.
    """
    _check_patterns("optim.freeze", config.optim.freeze)
    if not config.optim.freeze:
        return None

    def trainable_mask(params: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: not is_frozen(config, path_of(path)), params
        )

    return trainable_mask


def make_frozen_norms(config: ConfigDict) -> Callable[[str], bool] | None:
    """What says of the path of a batch norm whether it stays in inference mode; None: of none.

    All do under `optim.freeze_norm`; else those whose scale and bias are frozen.
    """
    if config.optim.freeze_norm:
        return lambda path: True
    if not config.optim.freeze:
        return None
    return lambda path: all(is_frozen(config, f"{path}/{name}") for name in ("scale", "bias"))


def scale_by_part(config: ConfigDict) -> list[optax.GradientTransformation]:
    """What multiplies the updates, and so the rates, of parts; empty where none is multiplied.

    By `optim.multipliers`, of which the last that matches counts, and by `optim.layer_decay`.

    Raises:
        UserError: A value of the two that cannot be; names the key.
    """
    _check_patterns("optim.multipliers", [pattern for pattern, _ in config.optim.multipliers])
    if config.optim.layer_decay == 1 and not config.optim.multipliers:
        return []

    def scaled(updates: Tree, params: Tree) -> Tree:
        factors = rate_factors(config, paths_of(params))
        return jax.tree_util.tree_map_with_path(
            lambda path, update: update * factors[path_of(path)], updates
        )

    return [optax.stateless(scaled)]


def rate_factors(config: ConfigDict, paths: Sequence[str]) -> dict[str, float]:
    """What the rate of each parameter is multiplied by.

    Args:
        config: The whole config.
        paths: All parameters of the model.

    Raises:
        UserError: `optim.layer_decay` is set, and the encoder's names do not tell its depth.
    """
    factors = dict.fromkeys(paths, 1.0)
    for pattern, factor in config.optim.multipliers:
        factors |= {path: float(factor) for path in paths if _matches(pattern, path)}
    if config.optim.layer_decay < 1:
        for path, factor in depth_factors(config, paths).items():
            factors[path] *= factor
    return factors


def check_parts(config: ConfigDict, shapes: Callable[[], Tree]) -> list[str]:
    """What is frozen and multiplied, in a few words each; empty where nothing is.

    Args:
        config: The whole config.
        shapes: Returns the shapes of the parameters; called where they matter alone, since they
            take a moment to find.

    Raises:
        UserError: A pattern matches no parameter, or nothing is left to be trained.
    """
    optim = config.optim
    words = ["all batch norms in inference mode"] if optim.freeze_norm else []
    if not optim.freeze and not optim.multipliers and optim.layer_decay == 1:
        return words
    params = shapes()
    paths, sizes = paths_of(params), [leaf.size for leaf in jax.tree.leaves(params)]
    for key, patterns in (
        ("optim.freeze", optim.freeze),
        ("optim.multipliers", [pattern for pattern, _ in optim.multipliers]),
    ):
        for pattern in patterns:
            if not any(_matches(pattern, path) for path in paths):
                raise UserError(f"config.{key}: {pattern!r} is no part; {_valid(pattern, paths)}")
    frozen = [is_frozen(config, path) for path in paths]
    if all(frozen):
        raise UserError(f"config.optim.freeze: {tuple(optim.freeze)} leaves nothing to train")
    if any(frozen):
        count = sum(size for size, still in zip(sizes, frozen, strict=True) if still)
        words.append(f"frozen: {', '.join(optim.freeze)} ({count / 1e6:.2f} M parameters)")
    if optim.multipliers:
        pairs = ", ".join(f"{pattern} x {factor:g}" for pattern, factor in optim.multipliers)
        words.append(f"rates: {pairs}")
    if optim.layer_decay < 1:
        least = min(depth_factors(config, paths).values())
        words.append(f"rates of the encoder x {least:.3g} (first) to {optim.layer_decay:g} (last)")
    return words


def _valid(pattern: str, paths: Iterable[str]) -> str:
    """The parts at the depth that a pattern asks for."""
    first = pattern.split("/")[0]
    tops = dict.fromkeys(path.split("/")[0] for path in paths)
    if first not in tops or "/" not in pattern:
        return f"valid: {', '.join(tops)}, or a path below one of them, as {first_below(paths)}"
    below = dict.fromkeys("/".join(p.split("/")[:2]) for p in paths if p.startswith(f"{first}/"))
    more = ", ..." if len(below) > SHOWN else ""
    return f"valid: {first}, {', '.join(list(below)[:SHOWN])}{more}"


def first_below(paths: Iterable[str]) -> str:
    """The first two names of the first path."""
    return "/".join(next(iter(paths)).split("/")[:2])


def _check_patterns(key: str, patterns: Iterable[Any]) -> None:
    for pattern in patterns:
        require(isinstance(pattern, str) and pattern, key, repr(pattern), "the path of a part")
        try:
            re.compile(pattern)
        # The others are of a repetition beyond 32 bits and of thousands of brackets.
        except (re.error, OverflowError, RecursionError) as error:
            raise UserError(
                f"config.{key}: {pattern!r} is no regular expression: {error}"
            ) from None
