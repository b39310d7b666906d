"""Which way an image goes: whole, in tiles (a raster too), or that of its form, as a video does."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from PIL import Image

from fcnjax.config import channel_names
from fcnjax.data.readers.decode import image_size
from fcnjax.data.readers.raster.bands import read_georeference
from fcnjax.errors import UserError, choose
from fcnjax.inference.errors import naming, outputs_of
from fcnjax.inference.identity import find_weights
from fcnjax.inference.inputs.fetch import is_uri
from fcnjax.inference.media.media_types import form_of
from fcnjax.inference.model import Prediction
from fcnjax.inference.outputs.names import ENDINGS
from fcnjax.inference.outputs.partial import Layer, Partial, partial_rows
from fcnjax.inference.outputs.rasters import (
    ImageWindows,
    RasterWindows,
    Unreadable,
    is_raster,
    little_cached,
    write_raster,
)
from fcnjax.inference.outputs.table import PredictedImage, write_outputs
from fcnjax.inference.outputs.vectors import DRIVERS, require_vectors, write_vectors
from fcnjax.inference.request import Predictor
from fcnjax.inference.runners.local import Item, Outcome, predict_images
from fcnjax.inference.runners.progress import ProgressBar
from fcnjax.inference.tiling.large import Windows, label_tiles, layers_of, no_data
from fcnjax.inference.tiling.overlap import TilePlan, joined, plan_tiles, reach_of
from fcnjax.inference.tiling.tiles import BLENDS
from fcnjax.io.atomic_files import atomic, stamps

LARGEST = 4096 * 4096  # pixels of a picture that goes to the device whole
FORMAT_VERSION = 1  # of what a run that was killed leaves
# Of a raster; what a picture has of it is its overlay.
RASTER_OUTPUTS = ("mask", "confidence", "entropy", "probabilities")


@dataclass(frozen=True)
class Tiling:
    """How large images are labelled.

    Attributes:
        tile: Height and width of tiles; None: chosen, and for large images alone.
        overlap: Pixels; None: chosen.
        blend: In `BLENDS`.
        vectors: A key of `DRIVERS`, or None: no polygons are written.
        simplify: Their tolerance in pixels.
    """

    tile: tuple[int, int] | None = None
    overlap: int | None = None
    blend: str = "gaussian"
    vectors: str | None = None
    simplify: float = 1.0

    def __post_init__(self):
        """Raises UserError for what can be seen to be wrong without an image."""
        choose(BLENDS, self.blend, "--blend")
        if self.overlap is not None and self.overlap < 0:
            raise UserError(f"--overlap: {self.overlap} is below 0")
        if self.vectors is not None:
            choose(DRIVERS, self.vectors, "--vectors")
            require_vectors()
        if not 0 <= self.simplify < float("inf"):
            raise UserError(f"--simplify: {self.simplify:g} is not 0 or a number of pixels")


def label_all(
    predictor: Predictor, items: Iterable[Item], out: str, tiling: Tiling, *, alone: bool
) -> Iterator[Outcome]:
    """Labels images: as `predict_images` does, in tiles (rasters, large ones), or by their form.

    Args:
        predictor: What labels, and knows which outputs.
        items: The images.
        out: The folder that the outputs go to.
        tiling: How large ones are labelled.
        alone: Whether there is but one, whose tiles are counted on the terminal.

    Yields:
        An outcome for each image, as `predict_images`. An option that does not suit an image is an
        error of that image.

    Raises:
        UserError: A file of `predict_images` cannot be written.
    """
    tiler = Tiler(predictor, out, tiling, alone)
    for handler, group in itertools.groupby(items, tiler.handler):
        if handler is None:
            yield from predict_images(predictor, group, out)
        else:
            yield from (_outcome(handler, item) for item in group)


def _outcome(handler: Callable[[Item], Outcome], item: Item) -> Outcome:
    """Run a handler; the error of one image does not end the prediction of the others."""
    start = time.perf_counter()
    try:
        return handler(item)
    except UserError as error:
        return Outcome(item, None, None, str(error), time.perf_counter() - start)


class Tiler:
    """Labels images in tiles; the arguments are those of `label_all`."""

    def __init__(self, predictor: Predictor, out: str, tiling: Tiling, alone: bool):
        self._predictor, self._out, self._tiling, self._alone = predictor, Path(out), tiling, alone
        self._reach = self._weights = None

    def handler(self, item: Item) -> Callable[[Item], Outcome] | None:
        """The function that labels an image; None: it goes to the device whole."""
        try:
            return self._handler(item)
        except UserError as error:
            fault = Outcome(item, None, None, str(error), 0.0)
            return lambda item: fault

    def _handler(self, item: Item) -> Callable[[Item], Outcome] | None:
        asked = self._tiling.tile is not None
        if item.error is not None:
            return None
        if item.content is not None or is_uri(item.source):
            if asked or self._tiling.vectors:
                raise UserError(
                    f"{item.source}: --tile and --vectors are for files on this machine"
                )
            return None
        path = Path(item.source)
        if (form := form_of(item.source)) is not None:
            if asked or self._tiling.vectors:
                raise UserError(f"{path}: is {form.name}, which --tile and --vectors do not take")
            return lambda item: form.label(self._predictor, item, self._out, self._alone)
        if is_raster(path, LARGEST):
            return self._label_raster
        if self._tiling.vectors:
            raise UserError(f"{path}: --vectors takes rasters with a place on the map")
        try:
            height, width = image_size(path)
        except UserError:
            return None  # reading it tells
        return self._label_image if asked or height * width > LARGEST else None

    def _label_image(self, item: Item) -> Outcome:
        start = time.perf_counter()
        model, request = self._predictor.model, self._predictor.request
        try:
            image = model.read(Path(item.source))
        except UserError as error:
            return Outcome(item, None, None, str(error), time.perf_counter() - start)
        kept = ("probabilities",) if self._predictor.takes_probabilities else ()
        windows = ImageWindows(image)

        def write(partial: Partial, layers: dict[str, Layer]) -> None:
            mask = self._predictor.cleaned(partial.whole("mask")).astype(model.mask_dtype)
            prediction = Prediction(mask, partial.whole("probabilities") if kept else None)
            about = (item.source, image, prediction, model.palette, model.class_names)
            write_outputs(self._out, item.id, PredictedImage(*about), request.outputs)
            with atomic(self._out / f"{item.id}_disagreement.png") as path:
                Image.fromarray(partial.whole("disagreement")).save(path)

        self._run(item, windows, layers_of(self._predictor, kept), write)
        mask = f"{item.id}{ENDINGS['mask']}" if "mask" in request.outputs else None
        return Outcome(item, windows.size, mask, None, time.perf_counter() - start)

    def _label_raster(self, item: Item) -> Outcome:
        start = time.perf_counter()
        model, outputs = self._predictor.model, self._raster_outputs(item)
        try:
            data = model.config.data
            windows = RasterWindows(
                item.source, channel_names(data.channels), model.converted, data.pages
            )
        except UserError as error:
            return Outcome(item, None, None, str(error), time.perf_counter() - start)
        place = read_georeference(item.source)
        if self._tiling.vectors and not place["crs"]:
            raise UserError(f"{item.source}: has no coordinate system (CRS), which --vectors takes")

        def write(partial: Partial, layers: dict[str, Layer]) -> None:
            for name, layer in layers.items():
                if name in (*outputs, "disagreement"):
                    self._write_layer(item, partial, name, layer, windows.size, place)
            if self._tiling.vectors:
                write_vectors(
                    self._out / f"{item.id}_mask.tif",
                    self._out / f"{item.id}_mask.{self._tiling.vectors}",
                    model.class_names,
                    self._tiling.simplify,
                )

        try:
            with contextlib.closing(windows), little_cached():
                self._run(item, windows, layers_of(self._predictor, outputs), write)
        except Unreadable as error:
            return Outcome(item, None, None, str(error), time.perf_counter() - start)
        mask = f"{item.id}_mask.tif" if "mask" in outputs else None
        return Outcome(item, windows.size, mask, None, time.perf_counter() - start)

    def _raster_outputs(self, item: Item) -> tuple[str, ...]:
        request = self._predictor.request
        for flag in ("smallest_region", "largest_hole"):
            if getattr(request, flag):
                raise UserError(
                    f"{item.source}: --{flag.replace('_', '-')} takes pictures; a raster's mask is "
                    "never whole in memory"
                )
        instead = "--vectors=geojson or gpkg writes its regions as polygons"
        outputs = outputs_of(item.source, "a raster", request.outputs, RASTER_OUTPUTS, instead)
        if self._tiling.vectors and "mask" not in outputs:
            raise UserError("--vectors: are made of the mask, which --outputs leaves out")
        return outputs

    def _write_layer(
        self,
        item: Item,
        partial: Partial,
        name: str,
        layer: Layer,
        size: tuple[int, int],
        place: dict[str, Any],
    ) -> None:
        names = self._predictor.model.class_names
        has_palette = name == "mask" and layer.dtype == "uint8"
        write_raster(
            self._out / f"{item.id}_{name}.tif",
            partial.read(name),
            size,
            place,
            dtype=layer.dtype,
            bands=names if layer.bands else (name,),
            nodata=no_data(layer),
            palette=self._predictor.model.palette if has_palette else None,
            tags={"classes": ", ".join(f"{i} {text}" for i, text in enumerate(names))},
        )

    def _run(
        self,
        item: Item,
        windows: Windows,
        layers: dict[str, Layer],
        write: Callable[[Partial, dict[str, Layer]], None],
    ) -> None:
        """Labels an image in tiles, and has what is kept of it written."""
        plan = self._plan(windows.size)
        height, width = windows.size
        target = self._out / item.id
        folder = target.parent / f".{target.name}.tiles"
        identity = self._identity(item, plan, layers)
        print(f"{item.source}: {width}x{height} pixels, {plan.words}")
        with partial_rows(folder, identity, width, layers) as partial:
            if partial.done > height:
                raise UserError(f"{folder}: is of another image; remove it")
            if partial.resumed:
                print(f"{item.source}: goes on at row {partial.done}, where it was stopped")
            with ProgressBar(plan.count, unit="tiles", bar=self._alone) as tally:
                label = (self._predictor, windows, plan, partial, layers)
                try:
                    with naming(item.source):
                        label_tiles(*label, lambda count: tally.add(count, 0))
                except Unreadable:
                    partial.discard()  # the file has to change, and another file begins anew
                    raise
            write(partial, layers)

    def _plan(self, size: tuple[int, int]) -> TilePlan:
        model = self._predictor.model
        if self._reach is None:
            configs = getattr(model, "configs", (model.config,))
            scale = min(self._predictor.request.scales)
            self._reach = joined([reach_of(config, scale) for config in configs])
        tiling, config = self._tiling, model.config
        return plan_tiles(
            size,
            self._reach,
            len(model.class_names),
            config.eval.bucket,
            tile=tiling.tile,
            overlap=tiling.overlap,
            blend=tiling.blend,
        )

    def _identity(self, item: Item, plan: TilePlan, layers: dict[str, Layer]) -> dict[str, Any]:
        """All that the rows of an image depend on."""
        request = self._predictor.request
        if self._weights is None:
            self._weights = [find_weights(*each, request.dtype) for each in request.models]
        device = jax.local_devices()[0]
        return {
            "format_version": FORMAT_VERSION,
            "image": [item.source, *stamps([Path(item.source)])],
            "weights": self._weights,
            "request": request.plan,
            "tiles": [repr(plan.rows), repr(plan.columns), plan.blend],
            "layers": {name: repr(layer) for name, layer in layers.items()},
            "computed_by": [jax.__version__, device.platform, device.device_kind],
        }
