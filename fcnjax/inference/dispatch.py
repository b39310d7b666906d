"""Selection of whole-image, tiled or media prediction for each input."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from fcnjax.data.readers.decode import image_size
from fcnjax.errors import UserError
from fcnjax.inference.inputs.fetch import is_uri
from fcnjax.inference.inputs.raster_windows import is_raster
from fcnjax.inference.items import InputItem, ItemResult, Written, failed
from fcnjax.inference.media.media_types import MediaType, detect_media_type
from fcnjax.inference.request import Predictor
from fcnjax.inference.runners.local import predict_images
from fcnjax.inference.tiling.options import MAX_WHOLE_PIXELS, TilingOptions
from fcnjax.inference.tiling.tiler import Tiler

Handler = Callable[[InputItem], Written]


def predict_files(
    predictor: Predictor,
    items: Iterable[InputItem],
    out: str,
    tiling: TilingOptions,
    *,
    show_progress: bool,
) -> Iterator[ItemResult]:
    """Predict images, large images and rasters in tiles, videos and volumes.

    Args:
        predictor: The predictor.
        items: The inputs.
        out: The output folder.
        tiling: Options of tiled prediction.
        show_progress: Whether to show the progress within an input, which a single one needs.

    Yields:
        A result for each input. An option that does not suit an input is an error of that input.

    Raises:
        UserError: An output of `predict_images` cannot be written.
    """
    tiler = Tiler(predictor, Path(out), tiling, show_progress)

    def predict_media(media: MediaType, item: InputItem) -> Written:
        return media.predict(predictor, item, Path(out), show_progress)

    def select(item: InputItem) -> Handler | None:
        try:
            handler = _select_handler(item, tiler, predict_media)
            if predictor.resizes and handler in (tiler.predict_image, tiler.predict_raster):
                raise UserError(
                    f"{item.source}: is predicted in tiles, and the model resizes each image; "
                    "--resize=native predicts tiles at the scale of the image"
                )
            return handler
        except UserError as error:
            return partial(_refuse, error)

    for handler, group in itertools.groupby(items, select):
        if handler is None:
            yield from predict_images(predictor, group, out)
        else:
            yield from (_run(handler, item) for item in group)


def _run(handler: Handler, item: InputItem) -> ItemResult:
    """Run a handler; an error of one input does not end the prediction of the others."""
    start = time.perf_counter()
    try:
        size, mask = handler(item)
        return ItemResult(item, size, mask, None, time.perf_counter() - start)
    except UserError as error:
        return failed(item, error, time.perf_counter() - start)


def _refuse(error: UserError, _: InputItem) -> Written:
    raise error


def _select_handler(
    item: InputItem, tiler: Tiler, predict_media: Callable[[MediaType, InputItem], Written]
) -> Handler | None:
    """Return the function that predicts an input, or None for whole-image prediction."""
    needs_tiles, needs_vectors = tiler.options.tile is not None, tiler.options.vectors
    if item.error is not None:
        return None
    if item.content is not None or is_uri(item.source):
        if needs_tiles or needs_vectors:
            raise UserError(f"{item.source}: --tile and --vectors are for files on this machine")
        return None
    path = Path(item.source)
    if (media := detect_media_type(item.source)) is not None:
        if needs_tiles or needs_vectors:
            raise UserError(f"{path}: is {media.name}, which --tile and --vectors do not take")
        return partial(predict_media, media)
    if is_raster(path, MAX_WHOLE_PIXELS):
        return tiler.predict_raster
    if needs_vectors:
        raise UserError(f"{path}: --vectors is for georeferenced rasters")
    try:
        height, width = image_size(path)
    except UserError:
        return None  # whole-image prediction reports the error
    is_large = height * width > MAX_WHOLE_PIXELS
    return tiler.predict_image if needs_tiles or is_large else None
