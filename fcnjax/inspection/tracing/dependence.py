"""Dependence of a step's outputs on its inputs.

The rules map a box of a step's output back to the boxes of its inputs that it is computed from.
They are exact except for weights that happen to be zero.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fcnjax.inspection.tracing.needs import Need, narrow, reshape
from fcnjax.inspection.tracing.program import Program, Step, Value

# A larger constant is assumed to have no zeros.
_LARGEST_CONSTANT = 2**26


class WholeImageError(Exception):
    """A step joins pixels from anywhere in the image, such as a global mean."""


class Rules:
    """The rules for one program, whose constants they compute on demand.

    Attributes:
        cut: True if a larger image would be needed: a window reached over the edge of an axis that
            grows with the image.
    """

    def __init__(self, program: Program):
        self.cut = False
        self._constants = program.constant
        self._makers = {v: step for step in program.steps for v in step.outputs}
        self._array = functools.cache(self._compute)

    def inputs(self, step: Step, index: int, need: Need) -> list[list[Need]]:
        """Return the boxes of each input that a part of output `index` of a step needs.

        Raises:
            WholeImageError: It needs all of the image, whatever its size.
            NotImplementedError: There is no rule for the primitive.
        """
        if step.name == "reshape":
            return [reshape(need, step.inputs[0].shape, step.outputs[0].shape)]
        rule = _RULES.get(step.name)
        if rule is None:
            raise NotImplementedError(f"receptive field: no rule for the primitive {step.name}")
        parts = rule(self, step, index, need)
        return [[part] if part is not None and all(map(np.any, part)) else [] for part in parts]

    def elementwise(self, step: Step, index: int, need: Need) -> list[Need | None]:
        """Return the same positions in each input, except where a constant factor is zero."""
        if step.name == "mul":
            for factor in step.inputs:
                if factor in self._constants and factor.shape:
                    # An axis of size one is broadcast against the other factor.
                    need = tuple(a & b for a, b in zip(need, self._support(factor), strict=True))
        return [narrow(need, value.shape) for value in step.inputs]

    def window(
        self, value: Value, axis: int, need: np.ndarray, geometry: Sequence[int]
    ) -> np.ndarray:
        """Return what a sliding window reads of an axis, `[in]`.

        Args:
            value: The value that it slides over.
            axis: The axis.
            need: `[out]`, the results that are needed.
            geometry: Size and stride of the window, padding before the axis, distance between the
                taps, and dilation of the input, as in a transposed convolution.
        """
        taps, stride, before, dilation, spread = geometry
        positions = np.flatnonzero(need)[:, None] * stride - before + np.arange(taps) * dilation
        positions = positions[positions % spread == 0] // spread
        read = np.zeros(value.shape[axis], bool)
        inside = (positions >= 0) & (positions < len(read))
        self.cut |= value.grows[axis] and not inside.all()
        read[positions[inside]] = True
        return read

    def dot(self, step: Step, index: int, need: Need) -> list[Need | None]:
        """Return all of the contracted axes, or the nonzero part if the matrix is constant."""
        contracted, batch = step.params["dimension_numbers"]
        free = [
            [axis for axis in range(len(value.shape)) if axis not in (*c, *b)]
            for value, c, b in zip(step.inputs, contracted, batch, strict=True)
        ]
        starts = len(batch[0]), len(batch[0]) + len(free[0])
        needs = []
        for side, value in enumerate(step.inputs):
            axes = dict(zip(batch[side], need, strict=False))
            axes |= dict(zip(free[side], need[starts[side] :], strict=False))
            needs.append((value, axes))
        result: list[Need | None] = []
        for side, (value, axes) in enumerate(needs):
            other, other_axes = needs[1 - side]
            weights = self._weights(other, contracted[1 - side], other_axes)
            if value in self._constants:
                result.append(None)
                continue
            if any(value.grows[axis] for axis in contracted[side]):
                # The results of a resize grow with the image; those of a mean over cells do not.
                outer = [other.grows[axis] for axis in other_axes]
                if weights is None or not any(outer):
                    raise WholeImageError
            for k, axis in enumerate(contracted[side]):
                axes[axis] = np.ones(value.shape[axis], bool) if weights is None else weights[k]
            result.append(tuple(axes[axis] for axis in range(len(value.shape))))
        return result

    def constant(self, value: Value) -> np.ndarray | None:
        """Return the array of a constant; None if the value is not constant or too large."""
        return self._array(value) if value in self._constants else None

    def _weights(
        self, matrix: Value, contracted: Sequence[int], need: Mapping[int, np.ndarray]
    ) -> list[np.ndarray] | None:
        """Return the contracted indices of a constant matrix with a nonzero weight, else None."""
        array = self.constant(matrix)
        if array is None:
            return None
        for axis, kept in need.items():
            array = array.compress(kept, axis)
        array = array != 0
        rest = range(array.ndim)
        return [array.any(tuple(k for k in rest if k != axis)) for axis in contracted]

    def _support(self, value: Value) -> Need:
        """Return where a constant is not zero, by axis."""
        step = self._makers.get(value)
        if step is not None and step.name == "broadcast_in_dim":
            inner = self._support(step.inputs[0])
            need = [np.ones(size, bool) for size in value.shape]
            for axis, kept in zip(step.params["broadcast_dimensions"], inner, strict=True):
                need[axis] = need[axis] & kept
            return tuple(need)
        array = self._array(value)
        if array is None:
            return tuple(np.ones(size, bool) for size in value.shape)
        others = [tuple(k for k in range(array.ndim) if k != axis) for axis in range(array.ndim)]
        return tuple((array != 0).any(axes) for axes in others)

    def _compute(self, value: Value) -> np.ndarray | None:
        if math.prod(value.shape) > _LARGEST_CONSTANT:
            return None
        if value.constant is not None:
            return np.asarray(value.constant)
        step = self._makers[value]
        inputs = [self._array(each) for each in step.inputs]
        if any(array is None for array in inputs):
            return None
        results = step.primitive.bind(*inputs, **step.params)
        results = results if step.primitive.multiple_results else [results]
        return np.asarray(results[step.outputs.index(value)])


def _conv(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    params, numbers = step.params, step.params["dimension_numbers"]
    image, kernel = (value.shape for value in step.inputs)
    axes: dict[int, np.ndarray] = {numbers.lhs_spec[0]: need[numbers.out_spec[0]]}
    groups, channels = params["feature_group_count"], image[numbers.lhs_spec[1]]
    used = need[numbers.out_spec[1]].reshape(groups, -1).any(1)
    axes[numbers.lhs_spec[1]] = np.repeat(used, channels // groups)
    taps = [kernel[axis] for axis in numbers.rhs_spec[2:]]
    needs = [need[axis] for axis in numbers.out_spec[2:]]
    geometries = _geometries(params, taps, ("window_strides", "rhs_dilation", "lhs_dilation"))
    for axis, kept, geometry in zip(numbers.lhs_spec[2:], needs, geometries, strict=True):
        axes[axis] = rules.window(step.inputs[0], axis, kept, geometry)
    return [tuple(axes[axis] for axis in range(len(image))), None]


def _reduce_window(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    keys = ("window_strides", "window_dilation", "base_dilation")
    geometries = _geometries(step.params, step.params["window_dimensions"], keys)
    pairs = enumerate(zip(need, geometries, strict=True))
    return [tuple(rules.window(step.inputs[0], axis, *pair) for axis, pair in pairs)]


def _geometries(
    params: Mapping[str, Any], taps: Sequence[int], keys: Sequence[str]
) -> list[tuple[int, ...]]:
    """Return the geometry of a window along each axis, as `Rules.window` takes it."""
    strides, dilations, spreads = (params[key] for key in keys)
    before = [low for low, _ in params["padding"]]
    return list(zip(taps, strides, before, dilations, spreads, strict=True))


def _reduce(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    value, axes = step.inputs[0], step.params["axes"]
    if any(value.grows[axis] for axis in axes):
        raise WholeImageError
    return [_with_axes(need, value.shape, axes)]


def _with_axes(need: Need, shape: Sequence[int], axes: Sequence[int]) -> Need:
    """Return a need with all of some more axes."""
    kept = iter(need)
    sizes = enumerate(shape)
    return tuple(np.ones(n, bool) if axis in axes else next(kept) for axis, n in sizes)


def _slice(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    params, shape = step.params, step.inputs[0].shape
    grows = zip(step.inputs[0].grows, step.outputs[0].grows, strict=True)
    if any(before and not after for before, after in grows):
        raise WholeImageError  # a fixed pixel, such as the one that a norm shifts all others by
    strides = params["strides"] or (1,) * len(shape)
    read = [np.zeros(size, bool) for size in shape]
    ranges = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    for axis, (start, stop, stride) in enumerate(ranges):
        read[axis][start:stop:stride] = need[axis]
    return [tuple(read)]


def _pad(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    value = step.inputs[0]
    read = []
    for axis, (kept, (before, _, inner)) in enumerate(
        zip(need, step.params["padding_config"], strict=True)
    ):
        positions = before + np.arange(value.shape[axis]) * (inner + 1)
        inside = (positions >= 0) & (positions < len(kept))
        read.append(inside & kept[np.clip(positions, 0, len(kept) - 1)])
        rules.cut |= value.grows[axis] and not inner and read[-1].sum() < kept.sum()
    return [tuple(read), ()]


def _concatenate(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    axis = step.params["dimension"]
    ends = np.cumsum([value.shape[axis] for value in step.inputs])[:-1]
    parts = np.split(need[axis], ends)
    return [(*need[:axis], part, *need[axis + 1 :]) for part in parts]


def _split(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    axis, sizes = step.params["axis"], step.params["sizes"]
    read = np.zeros(sum(sizes), bool)
    start = sum(sizes[:index])
    read[start : start + sizes[index]] = need[axis]
    return [(*need[:axis], read, *need[axis + 1 :])]


def _stack(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    axis = step.params["axis"]
    rest = (*need[:axis], *need[axis + 1 :])
    return [rest if kept else None for kept in need[axis]]


def _unstack(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    axis = step.params["axis"]
    return [(*need[:axis], np.arange(len(step.outputs)) == index, *need[axis:])]


def _tile(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    return [tuple(k.reshape(n, -1).any(0) for k, n in zip(need, step.params["reps"], strict=True))]


def _broadcast(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    placed = tuple(need[axis] for axis in step.params["broadcast_dimensions"])
    return [narrow(placed, step.inputs[0].shape), *(None for _ in step.inputs[1:])]


def _gather(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    """Return the rows (or columns) that constant indices select, as a mirrored edge does."""
    value, indices = step.inputs
    numbers, sizes = step.params["dimension_numbers"], step.params["slice_sizes"]
    taken = rules.constant(indices)
    axes = numbers.start_index_map
    if taken is None or taken.ndim != 2 or len(axes) != 1 or numbers.collapsed_slice_dims != axes:
        raise NotImplementedError("receptive field: no rule for this form of the primitive gather")
    (axis,), rest = axes, iter(numbers.offset_dims)
    (position,) = set(range(len(need))) - set(numbers.offset_dims)
    read = []
    for k, size in enumerate(value.shape):
        part = np.zeros(size, bool)
        if k == axis:
            part[taken[need[position], 0]] = True
            rules.cut |= value.grows[axis] and part.sum() < need[position].sum()
        else:
            part[: sizes[k]] = need[next(rest)]
        read.append(part)
    return [tuple(read), None]


def _transpose(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    order = step.params["permutation"]
    return [tuple(need[order.index(axis)] for axis in range(len(order)))]


def _reverse(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    axes = step.params["dimensions"]
    return [tuple(kept[::-1] if axis in axes else kept for axis, kept in enumerate(need))]


def _squeeze(rules: Rules, step: Step, index: int, need: Need) -> list[Need | None]:
    return [_with_axes(need, step.inputs[0].shape, step.params["dimensions"])]


_ELEMENTWISE = (  # noqa: SIM905 (a line a word)
    "abs add add_any and ceil clamp convert_element_type copy copy_p cos div eq erf erf_inv erfc "
    "exp exp2 expm1 floor ge gt integer_pow is_finite le log log1p logistic lt max min mul ne neg "
    "not optimization_barrier or pow reduce_precision rem round rsqrt select_n sign sin sqrt "
    "square stop_gradient sub tan tanh xor"
).split()
_RULES: Mapping[str, Callable[[Rules, Step, int, Need], list[Need | None]]] = {
    **dict.fromkeys(_ELEMENTWISE, Rules.elementwise),
    "argmax": _reduce,
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "conv_general_dilated": _conv,
    "dot_general": Rules.dot,
    "gather": _gather,
    "pad": _pad,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_sum": _reduce,
    "reduce_window_max": _reduce_window,
    "reduce_window_sum": _reduce_window,
    "rev": _reverse,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "unstack": _unstack,
}
