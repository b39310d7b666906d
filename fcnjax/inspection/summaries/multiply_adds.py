"""Multiply-adds of a model's convolutions and matrix products for an image."""

import math
from collections import Counter
from collections.abc import Mapping

from fcnjax.inspection.tracing.program import Path, Program, Step
from fcnjax.models.layers.convolution.implementations import sum_of_shifts


def multiply_adds(program: Program) -> Mapping[Path, int]:
    """Count multiply-adds by module, without those of the modules inside it.

    They are counted as in published figures (such as the "GFLOPS" of torchvision's weights): the
    products of convolutions, linear layers and attention. Biases, norms, activations, pooling, and
    resizing by products with a constant matrix are not counted.

    Raises:
        NotImplementedError: The model has a loop, whose number of iterations is unknown.
    """
    counts: Counter[Path] = Counter()
    for step in program.steps:
        if program.image_dependent.isdisjoint(step.inputs):
            continue
        if step.name in ("scan", "while", "cond"):
            raise NotImplementedError(f"multiply-adds of the primitive {step.name}")
        if step.name == "dot_general" and not program.constant.isdisjoint(step.inputs):
            continue
        if count := _count(step):
            counts[step.module] += count
    return counts


def _count(step: Step) -> int:
    result = math.prod(step.outputs[0].shape)
    if step.name == "dot_general":
        (axes, _), _ = step.params["dimension_numbers"]
        return result * math.prod(step.inputs[0].shape[axis] for axis in axes)
    if step.name == "conv_general_dilated":
        return _count_conv(step, result)
    # A depthwise convolution on CPU is one product of arrays for each tap.
    if step.name == "mul" and sum_of_shifts.__name__ in step.functions:
        return result
    return 0


def _count_conv(step: Step, result: int) -> int:
    image, kernel = (value.shape for value in step.inputs)
    numbers = step.params["dimension_numbers"]
    _, inner, *window = numbers.rhs_spec
    taps = math.prod(kernel[axis] for axis in (inner, *window))
    if max(step.params["lhs_dilation"]) > 1:
        # Transposed: each pixel of the input meets each tap. The inserted zeros do not count.
        batch, _, *space = numbers.lhs_spec
        result = math.prod(image[axis] for axis in (batch, *space))
        result *= kernel[numbers.rhs_spec[0]]
    return result * taps
