"""The theoretical receptive field: the pixels of the image that a value is computed from.

It is derived from the traced computation, backwards from the value to the image, so that padding,
dilation, skips and resizes count exactly. For chains of convolutions it equals the size derived by
Araujo et al. 2019, "Computing receptive fields of convolutional neural networks".
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from fcnjax.inspection.tracing.dependence import Rules, WholeImageError
from fcnjax.inspection.tracing.needs import Need, add_box
from fcnjax.inspection.tracing.program import Path, Program, Value, mark_growing_axes, trace

# Added to the height or width of the image until it is larger than the field, and until two traces
# have the same steps (a resize by an integer factor has others). As multiples of every stride they
# keep the position of each value relative to its neighbours.
_MARGINS = (3584, 7168, 15872)


@dataclass(frozen=True)
class Field:
    """The receptive field of the middle value of an array, along one axis of the image.

    Attributes:
        before, after: Offsets from the image's middle pixel to the start and the end of the field,
            without the modules that join the whole image.
        global_modules: The modules that join the whole image, such as a global mean or attention.
        cut: True if the field is larger than the image; then the other attributes are invalid.
    """

    before: int
    after: int
    global_modules: tuple[Path, ...] = ()
    cut: bool = False

    @property
    def size(self) -> int:
        """Size in pixels."""
        return self.after - self.before


def receptive_fields(
    module: nn.Module,
    run: Callable[[nn.Module, jax.Array], Any],
    shape: Sequence[int],
    axis: int = 1,
    program: Program | None = None,
    which: slice = slice(None),
) -> list[Field]:
    """Compute the receptive field of the middle value of each array that `run` returns.

    Args:
        module: The module, as in `trace`.
        run: The function, as in `trace`.
        shape: Shape of the image, `[B, H, W, C]`.
        axis: 1 for the rows, 2 for the columns.
        program: The trace for this shape, if there is one already.
        which: The arrays to measure.

    Raises:
        NotImplementedError: `dependence.py` has no rule for a primitive of the model, or the field
            is too large.
    """
    traces = [program or trace(module, run, shape)]
    for margin in _MARGINS:
        larger = list(shape)
        larger[axis] += margin
        traces.append(trace(module, run, larger))
        partner = next((one for one in traces[:-1] if mark_growing_axes(one, traces[-1])), None)
        # The smaller comes first, since with a resize that aligns corners the middle value of a
        # larger image has a slightly different position relative to its neighbours.
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
    for k in (1, 2):
        need[k] = np.arange(value.shape[k]) == value.shape[k] // 2
    rules = Rules(program)
    parts, global_modules = _trace_back(program, rules, value, tuple(need))
    if rules.cut:
        return Field(0, 0, cut=True)
    middle = program.image.shape[axis] // 2
    # There are no parts if the value depends on the image only through modules that join all of it.
    offsets = [np.flatnonzero(part[axis]) - middle for part in parts] or [np.asarray([0, -1])]
    before, after = min(o[0] for o in offsets), max(o[-1] for o in offsets) + 1
    return Field(int(before), int(after), global_modules)


def _trace_back(
    program: Program, rules: Rules, value: Value, need: Need
) -> tuple[list[Need], tuple[Path, ...]]:
    """Return the parts of the image that a part of a value needs, and the modules that need all.

    Stops if the image turns out to be too small.
    """
    needs: dict[Value, list[Need]] = {value: [need]}
    global_modules: dict[Path, None] = {}
    for step in reversed(program.steps):
        if rules.cut:
            break
        for index, output in enumerate(step.outputs):
            for part in needs.get(output, ()):
                try:
                    inputs = rules.inputs(step, index, part)
                except WholeImageError:
                    global_modules[step.module] = None
                    continue
                for each, parts in zip(step.inputs, inputs, strict=True):
                    if each in program.image_dependent:
                        needs[each] = functools.reduce(add_box, parts, needs.get(each, []))
    return needs.get(program.image, []), tuple(reversed(global_modules))
