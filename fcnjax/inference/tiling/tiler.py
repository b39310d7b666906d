"""Tiled prediction of one image or raster, from reading to its output files."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from PIL import Image

from fcnjax.config import channel_names
from fcnjax.data.readers.raster.bands import read_georeference
from fcnjax.errors import UserError
from fcnjax.inference.errors import errors_named
from fcnjax.inference.identity import identify_weights
from fcnjax.inference.inputs.raster_windows import ImageWindows, RasterReadError, RasterWindows
from fcnjax.inference.items import InputItem, Written
from fcnjax.inference.model import Prediction
from fcnjax.inference.outputs.geotiff import RasterFormat, limit_gdal_cache, write_raster
from fcnjax.inference.outputs.image_writers import PredictedImage, write_outputs
from fcnjax.inference.outputs.row_store import Layer, RowStore, open_row_store
from fcnjax.inference.outputs.vectors import write_vectors
from fcnjax.inference.request import Predictor
from fcnjax.inference.tiling.options import TilingOptions
from fcnjax.inference.tiling.plan import (
    TilePlan,
    joint_receptive_field,
    measure_receptive_field,
    plan_tiles,
)
from fcnjax.inference.tiling.stream import Windows, nodata_value, predict_tiles, select_layers
from fcnjax.io.atomic_files import atomic, stamps
from fcnjax.io.progress import ProgressBar

FORMAT_VERSION = 1  # of the files that a killed run leaves
# Outputs of a raster. An overlay and components are for images.
RASTER_OUTPUTS = ("mask", "confidence", "entropy", "probabilities")

WriteOutputs = Callable[[RowStore, dict[str, Layer]], None]


class Tiler:
    """Predicts images and rasters in tiles and writes their outputs.

    Args:
        predictor: The predictor.
        out: The output folder.
        options: Options of tiled prediction.
        show_progress: Whether to show the number of tiles on a terminal.

    Attributes:
        options: As given.
    """

    def __init__(
        self, predictor: Predictor, out: Path, options: TilingOptions, show_progress: bool
    ):
        self._predictor, self._out, self.options = predictor, out, options
        self._show_progress = show_progress
        self._field = self._weights = None

    def predict_image(self, item: InputItem) -> Written:
        """Predict an image in tiles; write its usual outputs and the disagreement.

        Raises:
            UserError: The image cannot be read, or a file cannot be written.
        """
        model, request = self._predictor.model, self._predictor.request
        image = model.read(Path(item.source))
        layers = ("probabilities",) if self._predictor.needs_probabilities else ()
        mask_file = None

        def write(store: RowStore, _: dict[str, Layer]) -> None:
            nonlocal mask_file
            mask = self._predictor.clean_mask(store.read_all("mask")).astype(model.mask_dtype)
            prediction = Prediction(mask, store.read_all("probabilities") if layers else None)
            predicted = PredictedImage(
                item.source, image, prediction, model.palette, model.class_names
            )
            mask_file = write_outputs(self._out, item.id, predicted, request.outputs)
            with atomic(self._out / f"{item.id}_disagreement.png") as path:
                Image.fromarray(store.read_all("disagreement")).save(path)

        self._run(item, ImageWindows(image), layers, write)
        return image.shape[:2], mask_file

    def predict_raster(self, item: InputItem) -> Written:
        """Predict a raster in tiles; write GeoTIFF files with its georeference, and polygons.

        Raises:
            UserError: The raster cannot be read, a file cannot be written, or an option does not
                apply to the raster.
        """
        model, outputs = self._predictor.model, self._raster_outputs(item)
        data = model.config.data
        windows = RasterWindows(
            item.source, channel_names(data.channels), model.convert, data.pages
        )
        georeference = read_georeference(item.source)
        if self.options.vectors and not georeference["crs"]:
            raise UserError(f"{item.source}: has no coordinate system (CRS), which --vectors takes")

        def write(store: RowStore, layers: dict[str, Layer]) -> None:
            for name, layer in layers.items():
                if name in (*outputs, "disagreement"):
                    self._write_layer(item, store, name, layer, windows.size, georeference)
            if self.options.vectors:
                write_vectors(
                    self._out / f"{item.id}_mask.tif",
                    self._out / f"{item.id}_mask.{self.options.vectors}",
                    model.class_names,
                    self.options.simplify,
                )

        with contextlib.closing(windows), limit_gdal_cache():
            self._run(item, windows, outputs, write)
        return windows.size, f"{item.id}_mask.tif" if "mask" in outputs else None

    def _raster_outputs(self, item: InputItem) -> tuple[str, ...]:
        request = self._predictor.request
        for option in ("smallest_region", "largest_hole"):
            if getattr(request, option):
                raise UserError(
                    f"{item.source}: --{option.replace('_', '-')} is for images; the mask of a "
                    "raster is never in memory at once"
                )
        hint = "--vectors=geojson or gpkg writes its regions as polygons"
        outputs = request.select_outputs(item.source, "a raster", RASTER_OUTPUTS, hint)
        if self.options.vectors and "mask" not in outputs:
            raise UserError("--vectors: are made of the mask, which --outputs leaves out")
        return outputs

    def _write_layer(
        self,
        item: InputItem,
        store: RowStore,
        name: str,
        layer: Layer,
        size: tuple[int, int],
        georeference: dict[str, Any],
    ) -> None:
        class_names = self._predictor.model.class_names
        has_palette = name == "mask" and layer.dtype == "uint8"
        pixel_format = RasterFormat(
            layer.dtype,
            class_names if layer.bands else (name,),
            nodata_value(layer),
            self._predictor.model.palette if has_palette else None,
        )
        tags = {"classes": ", ".join(f"{i} {text}" for i, text in enumerate(class_names))}
        path = self._out / f"{item.id}_{name}.tif"
        write_raster(path, store.read(name), size, georeference, pixel_format, tags)

    def _run(
        self, item: InputItem, windows: Windows, outputs: tuple[str, ...], write: WriteOutputs
    ) -> None:
        """Predict an image in tiles, resume a killed run if there is one, and call `write`."""
        plan, layers = self._plan(windows.size), select_layers(self._predictor, outputs)
        height, width = windows.size
        path = self._out / item.id
        folder = path.parent / f".{path.name}.tiles"
        identity = self._identity(item, plan, layers)
        print(f"{item.source}: {width}x{height} pixels, {plan.description}")
        with open_row_store(folder, identity, width, layers) as store:
            if store.rows > height:
                raise UserError(f"{folder}: is of another image; remove it")
            if store.is_resumed:
                print(f"{item.source}: resumes at row {store.rows}")
            with ProgressBar(plan.count, unit="tiles", bar=self._show_progress) as progress:
                try:
                    with errors_named(item.source):
                        predict_tiles(self._predictor, windows, plan, store, layers, progress.add)
                except RasterReadError:
                    store.discard()  # the file must change, which starts a new run
                    raise
            write(store, layers)

    def _plan(self, size: tuple[int, int]) -> TilePlan:
        model = self._predictor.model
        if self._field is None:
            configs = getattr(model, "configs", (model.config,))
            scale = min(self._predictor.request.scales)
            fields = [measure_receptive_field(config, scale) for config in configs]
            self._field = joint_receptive_field(fields)
        return plan_tiles(
            size,
            self._field,
            len(model.class_names),
            model.config.eval.bucket,
            tile=self.options.tile,
            overlap=self.options.overlap,
            blend=self.options.blend,
        )

    def _identity(
        self, item: InputItem, plan: TilePlan, layers: dict[str, Layer]
    ) -> dict[str, Any]:
        """Return everything that the rows of an image depend on."""
        request = self._predictor.request
        if self._weights is None:
            self._weights = [
                identify_weights(*each, request.dtype, request.resize) for each in request.models
            ]
        device = jax.local_devices()[0]
        return {
            "format_version": FORMAT_VERSION,
            "image": [item.source, *stamps([Path(item.source)])],
            "weights": self._weights,
            "request": request.options,
            "tiles": [repr(plan.rows), repr(plan.columns), plan.blend],
            "layers": {name: repr(layer) for name, layer in layers.items()},
            "computed_by": [jax.__version__, device.platform, device.device_kind],
        }
