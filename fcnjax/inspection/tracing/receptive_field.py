"""The theoretical receptive field: the pixels of the image that a value is computed from.

It is read off the traced computation, from the value back to the image, so that padding, dilation,
skips and resizes count exactly as the model has them (for chains of convolutions it is the size
that Araujo et al. 2019, "Computing receptive fields of convolutional neural networks", derive).
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from fcnjax.inspection.tracing.dependence import Rules, WholeImageError
from fcnjax.inspection.tracing.needs import Need, united
from fcnjax.inspection.tracing.program import Path, Program, Value, grown, trace

# Added to the image's height or width until it is larger than the field, and until two traces have
# the same steps (a resize by a whole factor has others). As multiples of every stride they keep
# each value's place between its neighbours.
_MARGINS = (3584, 7168, 15872)


@dataclass(frozen=True)
class Field:
    """What one value, the middle one of its array, is computed from, along one axis of the image.

    Attributes:
        before, after: Pixels from the image's middle pixel to the first and to the one behind the
            last that counts; what joins the whole image is left out.
        whole: The modules that join the whole image, as a global mean or attention does.
        cut: Whether it is larger than the image: then nothing else of this holds.
    """

    before: int
    after: int
    whole: tuple[Path, ...] = ()
    cut: bool = False

    @property
    def size(self) -> int:
        """Pixels."""
        return self.after - self.before


def receptive_fields(
    module: nn.Module,
    run: Callable[[nn.Module, jax.Array], Any],
    shape: Sequence[int],
    axis: int = 1,
    program: Program | None = None,
    which: slice = slice(None),
) -> list[Field]:
    """The receptive field of the middle value of each array that `run` returns, along one axis.

    Args:
        module: As in `trace`.
        run: As in `trace`.
        shape: Of the image, `[B, H, W, C]`; the model is as it is for this size.
        axis: 1 for the rows, 2 for the columns.
        program: The trace for this shape, where there is one already.
        which: Of the arrays.

    Raises:
        NotImplementedError: The model does what no rule of `dependence.py` covers, or its field is
            beyond all measure.
    """
    traces = [program or trace(module, run, shape)]
    for margin in _MARGINS:
        larger = list(shape)
        larger[axis] += margin
        traces.append(trace(module, run, larger))
        partner = next((one for one in traces[:-1] if grown(one, traces[-1])), None)
        # The smaller comes first: where a resize keeps the corners in place, the middle value of a
        # larger image lies a little otherwise between its neighbours.
        for each in (partner, traces[-1]) if partner else ():
            fields = []
            for value in jax.tree.leaves(each.outputs)[which]:
                fields.append(_field(each, value, axis))
                if fields[-1].cut:
                    break
            else:
                return fields
    raise NotImplementedError(f"receptive field: larger than {_MARGINS[-1]} pixels")


def _field(program: Program, value: Value, axis: int) -> Field:
    need = [np.ones(size, bool) for size in value.shape]
    for place in (1, 2):
        need[place] = np.arange(value.shape[place]) == value.shape[place] // 2
    rules = Rules(program)
    found, whole = _needed(program, rules, value, tuple(need))
    if rules.cut:
        return Field(0, 0, cut=True)
    middle = program.image.shape[axis] // 2
    # Nothing is left where only what joins the whole image leads to the value.
    places = [np.flatnonzero(part[axis]) - middle for part in found] or [np.asarray([0, -1])]
    before, after = min(p[0] for p in places), max(p[-1] for p in places) + 1
    return Field(int(before), int(after), whole)


def _needed(
    program: Program, rules: Rules, value: Value, need: Need
) -> tuple[list[Need], tuple[Path, ...]]:
    """What of the image a part of a value needs, and the modules that need all of it.

    Stops where the image turns out to be too small.
    """
    needs: dict[Value, list[Need]] = {value: [need]}
    whole: dict[Path, None] = {}
    for step in reversed(program.steps):
        if rules.cut:
            break
        for index, output in enumerate(step.outputs):
            for part in needs.get(output, ()):
                try:
                    inputs = rules.inputs(step, index, part)
                except WholeImageError:
                    whole[step.module] = None
                    continue
                for each, parts in zip(step.inputs, inputs, strict=True):
                    if each in program.trainable_mask:
                        needs[each] = functools.reduce(united, parts, needs.get(each, []))
    return needs.get(program.image, []), tuple(reversed(whole))
