"""Layer table of a model."""

from flax.traverse_util import flatten_dict

from fcnjax.inspection.summaries.model_source import ModelSource
from fcnjax.inspection.summaries.multiply_adds import multiply_adds
from fcnjax.inspection.summaries.text import millions, numbers, products, table
from fcnjax.inspection.tracing.program import Call, Path, Program
from fcnjax.models import Segmenter


def model_header(
    model: Segmenter, source: ModelSource, program: Program, size: tuple[int, int]
) -> str:
    """Format the sizes of a model as lines of text."""
    config, note = source.config, f"; {source.note}" if source.note else ""
    encoder, decoder = model.encoder, model.decoder
    height, width = size
    return table(
        [
            ("model", f"{config.model.decoder} over {config.model.encoder}"),
            ("parameters", millions(count_parameters(program))),
            ("multiply-adds", f"{products(sum(multiply_adds(program).values()))} an image"),
            ("image", f"{height}x{width}x{model.in_channels} ({config.data.channels})"),
            ("logits", f"{model.out_channels} a pixel ({config.model.head}{note})"),
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
