"""Sizes of a model: parameters, multiply-adds for an image, and the table of its layers."""

import math
from collections import Counter
from collections.abc import Mapping

from flax.traverse_util import flatten_dict

from fcnjax.inspection.summaries.model_source import ModelSource
from fcnjax.inspection.summaries.text import millions, numbers, products, table
from fcnjax.inspection.tracing.program import Call, Path, Program, Step
from fcnjax.models import Segmenter
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


def model_header(
    model: Segmenter, source: ModelSource, program: Program, size: tuple[int, int]
) -> str:
    """Format the sizes of a model as lines of text."""
    config, encoder, decoder = source.config, model.encoder, model.decoder
    height, width = size
    return table(
        [
            *(("note", note) for note in source.notes),
            ("model", f"{config.model.decoder} over {config.model.encoder}"),
            ("parameters", millions(count_parameters(program))),
            ("multiply-adds", f"{products(sum(multiply_adds(program).values()))} an image"),
            ("image", f"{height}x{width}x{model.in_channels} ({config.data.channels})"),
            ("logits", f"{model.out_channels} a pixel ({config.model.head})"),
            ("encoder strides", numbers(encoder.strides)),
            ("encoder channels", numbers(encoder.channels)),
            ("decoder stride", f"{decoder.stride}{', resized to 1' * (decoder.stride > 1)}"),
        ]
    )


def count_parameters(program: Program, module: Path = ()) -> int:
    """Count the parameters of a module, including the modules inside it."""
    params = flatten_dict(dict(program.variables.get("params", {})))
    return sum(leaf.size for path, leaf in params.items() if path[: len(module)] == module)


def layer_table(program: Program, depth: int) -> str:
    """Format the modules down to a depth as a table, in the order of their calls.

    A module's parameters and multiply-adds include those of the modules inside it.
    """
    counts = multiply_adds(program)
    calls: dict[Path, list[Call]] = {}
    for call in program.calls:
        if len(call.module) <= depth:
            calls.setdefault(call.module, []).append(call)
    rows = [("layer", "kind", "output", "parameters", "multiply-adds")]
    total = calls.pop((), None)
    for path, times in [*calls.items(), ((), total)]:
        count = sum(n for inner, n in counts.items() if inner[: len(path)] == path)
        parameters = count_parameters(program, path)
        rows.append(
            (
                "  " * (len(path) - 1) + (path[-1] if path else "total"),
                times[0].kind + (f" x{len(times)}" if times[1:] else ""),
                _shapes(times[0]),
                f"{parameters:,}" if parameters else "-",
                products(count) if count else "-",
            )
        )
    return table(rows, right=(3, 4))


def _shapes(call: Call) -> str:
    """Format the shape of a call's result; of a pyramid, the first and the last."""
    shapes = ["x".join(map(str, shape[1:])) for shape in call.shapes]
    return " .. ".join(shapes if len(shapes) < 3 else (shapes[0], shapes[-1]))
