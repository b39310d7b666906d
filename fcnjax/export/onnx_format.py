"""ONNX of any batch, height and width."""

from pathlib import Path

from fcnjax.errors import UserError
from fcnjax.export.program import ExportSource


def write_onnx(source: ExportSource, folder: Path) -> int:
    """Write `model.onnx`; return the least height and width of an image.

    It is also in the metadata of the file, as `least_size`, beside the `layout`.

    Raises:
        UserError: onnx or ONNX Runtime is not installed, or the model cannot be converted.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401  # runs the file for the check

        from fcnjax.export.onnx.program import make_onnx
    except ImportError as error:
        raise UserError(
            "--format: onnx needs onnx and onnxruntime: pip install 'fcnjax[onnx]'"
        ) from error
    model, least_size = make_onnx(source)
    properties = {"least_size": str(least_size), "layout": source.layout}
    onnx.helper.set_model_props(model, properties)
    (image,) = model.graph.input
    image.doc_string = f"Images as stored, at least {least_size}x{least_size} pixels."
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return least_size
