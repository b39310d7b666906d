"""Prediction of files: `fcnjax.predict`."""

from collections.abc import Iterable
from pathlib import Path

from fcnjax.inference.dispatch import predict_files
from fcnjax.inference.engines import XLA
from fcnjax.inference.inputs.arguments import find_inputs
from fcnjax.inference.inputs.listing import list_by_stem
from fcnjax.inference.items import ItemResult
from fcnjax.inference.request import Request
from fcnjax.inference.tiling.options import TilingOptions


def predict(
    images: str | Path | Iterable[str | Path],
    model: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    step: str | int = "best",
    dtype: str | None = None,
    outputs: tuple[str, ...] = ("mask", "overlay"),
    tta: tuple[str, ...] = (),
    resize: str | None = None,
    engine: str = XLA,
) -> list[ItemResult]:
    """Predict image files and write their masks, as `fcnjax predict` does.

    For arrays in memory, use `fcnjax.load(model)`, which returns a function of an image.

    Args:
        images: Files, folders or globs: images, rasters, videos, volumes.
        model: As `fcnjax.load` takes it; several are averaged.
        out: Folder of the outputs.
        step: The checkpoint: `best`, `latest` or a step.
        dtype: Type of the computation, `float32` or `bfloat16`; None is that of the training.
        outputs: What to write for each image, as of `fcnjax predict --outputs`.
        tta: Test-time augmentation: `hflip`, `vflip`, `rot90`.
        resize: The size at which the model sees images, as `fcnjax.load` takes it.
        engine: What computes, as `fcnjax.load` takes it.

    Returns:
        The result of each image; its `error` is None unless the image could not be predicted.

    Raises:
        UserError: The model, the options or the names of the images cannot be used, or a file
            cannot be written.
    """
    models = tuple((str(each), step) for each in _several(model))
    request = Request(
        models, dtype, outputs=tuple(outputs), tta=tuple(tta), resize=resize, engine=engine
    )
    listing = list_by_stem(find_inputs(map(str, _several(images)), str(out)))
    predictor = request.load()
    return list(
        predict_files(predictor, listing.items(), str(out), TilingOptions(), show_progress=False)
    )


def _several(values: str | Path | Iterable[str | Path]) -> list[str | Path]:
    return [values] if isinstance(values, str | Path) else list(values)
