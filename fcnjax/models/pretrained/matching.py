"""The published form that the tensors of a file are in, and the prefix of their names there."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from fcnjax.errors import UserError
from fcnjax.models.pretrained.layouts import Path
from fcnjax.models.pretrained.names import PublishedLayout, tensor_names, torch_shape


@dataclass(frozen=True)
class Match:
    """Tensors of a file that belong to variables.

    Attributes:
        prefix: What stands before the names of the published form.
        tensors: The name of each variable's tensor in the file, by the variable's path.
        wanted: How many variables the form has a name for.
        fitting: How many of the tensors have the shape of their variable.
    """

    prefix: str = ""
    tensors: Mapping[Path, str] = field(default_factory=dict)
    wanted: int = 0
    fitting: int = 0


def match_encoder(
    forms: Iterable[PublishedLayout],
    flat: Mapping[Path, Any],
    tensors: Mapping[str, np.ndarray],
    chosen: str | None,
    what: str,
) -> Match:
    """Finds the tensors of an encoder in a file, under any prefix.

    Args:
        forms: The forms in which the encoder is published.
        flat: Variables by their paths.
        tensors: By their names in the file.
        chosen: The prefix, or the beginning of it; None finds it.
        what: The source and the encoder, for messages.

    Raises:
        UserError: Several prefixes have as many tensors that fit, none begins with `chosen`, or
            the file has less than half of the encoder.
    """
    found = _matches(forms, flat, tensors)
    if chosen is not None:
        begin = [match for match in found if match.prefix.startswith(chosen)]
        if found and not begin:
            there = ", ".join(sorted({repr(match.prefix) for match in found}))
            raise UserError(
                f"config.model.init_prefix: {chosen!r} begins no names of {what}; valid: {there}"
            )
        found = [match for match in begin if match.prefix == chosen] or begin
    best = max(found, key=_score, default=Match())
    if 2 * len(best.tensors) < best.wanted:
        raise UserError(
            f"{what}: the file has only {len(best.tensors)} of its {best.wanted} tensors"
        )
    _refuse_rivals(best, found, what)
    return best


def match_rest(
    forms: Iterable[PublishedLayout],
    flat: Mapping[Path, Any],
    tensors: Mapping[str, np.ndarray],
    encoder: Match,
) -> Match:
    """Finds the tensors of what follows an encoder, which lies in the same model as that."""
    found = _matches(forms, flat, tensors)
    if encoder.tensors:
        found = [match for match in found if encoder.prefix.startswith(match.prefix)]
    return max(found, key=_score, default=Match())


def without_foreign_norms(
    match: Match, flat: Mapping[Path, Any], tensors: Mapping[str, np.ndarray]
) -> dict[Path, str]:
    """The tensors of a match but those of batch norms where the model has another norm."""
    # A batch norm's scale means nothing to a group norm in its place.
    return {
        path: name
        for path, name in match.tensors.items()
        if f"{name.rpartition('.')[0]}.running_mean" not in tensors
        or ("batch_stats", *path[1:-1], "mean") in flat
    }


def has_shape(tensor: np.ndarray, wanted: tuple[int, ...]) -> bool:
    """Return whether a tensor has a shape, or takes it as a linear layer or by axes of length 1."""
    if tensor.shape == wanted:
        return True
    linear = tensor.ndim == 2 and len(wanted) == 4 and tensor.shape[0] == wanted[0]
    return tensor.size == math.prod(wanted) and (linear or tensor.ndim != len(wanted))


def _score(match: Match) -> tuple[int, int]:
    return match.fitting, len(match.tensors)


def _refuse_rivals(best: Match, found: Iterable[Match], what: str) -> None:
    """Refuses a file that has the encoder twice, as of a student and its teacher."""
    own = set(best.tensors.values())
    rivals = {
        match.prefix
        for match in found
        if 2 * match.fitting > match.wanted and own.isdisjoint(match.tensors.values())
    }
    if rivals:
        prefixes = sorted({best.prefix, *rivals})
        raise UserError(
            f"{what}: the file has it {len(prefixes)} times, its names after "
            f"{', '.join(map(repr, prefixes))}; choose with config.model.init_prefix"
        )


def _matches(
    forms: Iterable[PublishedLayout], flat: Mapping[Path, Any], tensors: Mapping[str, np.ndarray]
) -> list[Match]:
    """The match of each form under each prefix that fits more than half of it, and under none."""
    variables = unflatten_dict(flat)
    named = [tensor_names(variables, form) for form in forms]
    prefixes = _prefixes(tensors, {name for names in named for name in names.values()})
    matches = []
    for names in named:
        shapes = {path: torch_shape(path, tuple(flat[path].shape)) for path in names}
        fitting = Counter(
            prefix
            for path, name in names.items()
            for prefix in prefixes.get(name, ())
            if has_shape(tensors[prefix + name], shapes[path])
        )
        likely = {prefix for prefix, count in fitting.items() if 2 * count > len(names)}
        for prefix in sorted({"", *likely}):
            found = {path: prefix + n for path, n in names.items() if prefix + n in tensors}
            if found:
                matches.append(Match(prefix, found, len(names), fitting[prefix]))
    return matches


def _prefixes(tensors: Iterable[str], wanted: Set[str]) -> Mapping[str, list[str]]:
    """The prefixes before each wanted name that ends a tensor's, after a dot or from its start."""
    found = defaultdict(list)
    lengths = {len(name) for name in wanted}  # few; a hostile name has hundreds of dots
    for name in tensors:
        for length in lengths:
            start = len(name) - length
            if start >= 0 and name[start:] in wanted and (start == 0 or name[start - 1] == "."):
                found[name[start:]].append(name[:start])
    return found
