"""Selection of whole-image, tiled or media prediction for each input."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from fcnjax.data.readers.decode import image_size
from fcnjax.errors import UserError
from fcnjax.inference.inputs.fetch import is_uri
from fcnjax.inference.inputs.raster_windows import is_raster
from fcnjax.inference.items import InputItem, ItemResult, failed
from fcnjax.inference.media.media_types import detect_media_type
from fcnjax.inference.request import Predictor
from fcnjax.inference.runners.local import predict_images
from fcnjax.inference.tiling.tiler import Tiler, TilingOptions

MAX_WHOLE_PIXELS = 4096 * 4096  # of an image that is predicted without tiles

Handler = Callable[[InputItem], ItemResult]


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
    dispatcher = Dispatcher(predictor, Path(out), tiling, show_progress)
    for handler, group in itertools.groupby(items, dispatcher.handler):
        if handler is None:
            yield from predict_images(predictor, group, out)
        else:
            yield from (_run(handler, item) for item in group)


def _run(handler: Handler, item: InputItem) -> ItemResult:
    """Run a handler; an error of one input does not end the prediction of the others."""
    start = time.perf_counter()
    try:
        return handler(item)
    except UserError as error:
        return failed(item, error, time.perf_counter() - start)


class Dispatcher:
    """Selects the handler of each input. The arguments are those of `predict_files`."""

    def __init__(self, predictor: Predictor, out: Path, tiling: TilingOptions, show_progress: bool):
        self._predictor, self._out, self._tiling = predictor, out, tiling
        self._show_progress = show_progress
        self._tiler = Tiler(predictor, out, tiling, show_progress)

    def handler(self, item: InputItem) -> Handler | None:
        """Return the function that predicts an input, or None for whole-image prediction."""
        try:
            return self._handler(item)
        except UserError as error:
            result = failed(item, error)
            return lambda item: result

    def _handler(self, item: InputItem) -> Handler | None:
        needs_tiles = self._tiling.tile is not None
        if item.error is not None:
            return None
        if item.content is not None or is_uri(item.source):
            if needs_tiles or self._tiling.vectors:
                raise UserError(
                    f"{item.source}: --tile and --vectors are for files on this machine"
                )
            return None
        path = Path(item.source)
        if (media := detect_media_type(item.source)) is not None:
            if needs_tiles or self._tiling.vectors:
                raise UserError(f"{path}: is {media.name}, which --tile and --vectors do not take")
            return lambda item: media.predict(self._predictor, item, self._out, self._show_progress)
        if is_raster(path, MAX_WHOLE_PIXELS):
            return self._tiler.predict_raster
        if self._tiling.vectors:
            raise UserError(f"{path}: --vectors is for georeferenced rasters")
        try:
            height, width = image_size(path)
        except UserError:
            return None  # whole-image prediction reports the error
        is_large = height * width > MAX_WHOLE_PIXELS
        return self._tiler.predict_image if needs_tiles or is_large else None
