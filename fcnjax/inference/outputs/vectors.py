"""The mask of a raster as polygons, in a GeoJSON file or a GeoPackage."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.inference.tiling.options import DRIVERS
from fcnjax.io.atomic_files import atomic


def write_vectors(mask: Path, path: Path, class_names: Sequence[str], simplify: float) -> None:
    """Write the regions of a mask as polygons with the attributes `class` (id) and `name`.

    Edges are simplified by the Visvalingam-Whyatt algorithm. An edge shared by two polygons is
    simplified once, so that there are no gaps or overlaps. Pixels without data are in no polygon.

    Args:
        mask: GeoTIFF of class ids with a coordinate system.
        path: The file, whose suffix is a key of `DRIVERS`.
        class_names: Class names, indexed by class id.
        simplify: Tolerance in pixels: vertices that span a triangle with an area below its square
            are removed. 0 keeps the edges of the pixels.

    Raises:
        UserError: The file cannot be written.
    """
    import pyogrio
    import rasterio
    import shapely

    with rasterio.open(mask) as raster:
        polygons, ids = _regions(raster)
        to_map, crs = np.reshape(raster.transform, (3, 3)), raster.crs.to_wkt()
    # Pixel coordinates, in which the corners are integers.
    to_pixels = np.linalg.inv(to_map)
    polygons = shapely.transform(polygons, lambda xy: np.rint(_transform(xy, to_pixels)))
    if simplify and len(polygons):
        polygons = shapely.coverage_simplify(_add_pixel_corners(polygons), simplify)
    polygons = shapely.transform(polygons, lambda xy: _transform(xy, to_map))
    driver, options = DRIVERS[path.suffix[1:]]
    names = np.asarray([class_names[i] for i in ids], object)
    with atomic(path) as temporary:
        temporary.unlink()  # GDAL does not write a GeoPackage over another file
        try:
            pyogrio.raw.write(
                temporary,
                shapely.to_wkb(polygons),
                [ids, names],
                ["class", "name"],
                driver=driver,
                geometry_type="Polygon",
                crs=crs,
                layer=path.stem,
                layer_options=dict(options),
            )
        except pyogrio.errors.DataSourceError as error:
            raise UserError(f"{path}: cannot be written: {error}") from error


def _transform(xy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Apply an affine transform `[3, 3]` to points `[N, 2]`."""
    return xy @ matrix[:2, :2].T + matrix[:2, 2]


def _regions(raster: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the 4-connected regions of one class: polygons in map coordinates, and class ids."""
    import rasterio
    import rasterio.features
    import shapely

    polygons, ids = [], []
    for geometry, value in rasterio.features.shapes(rasterio.band(raster, 1)):
        if value != raster.nodata:
            shell, *holes = geometry["coordinates"]
            polygons.append(shapely.Polygon(shell, holes))
            ids.append(int(value))
    return np.asarray(polygons, object), np.asarray(ids, np.int32)


def _add_pixel_corners(polygons: np.ndarray) -> np.ndarray:
    """Return the polygons with a vertex at every pixel corner on their edges.

    A corner of one polygon may lie on a side of another, and edges are matched by their vertices.
    """
    import shapely

    return shapely.transform(shapely.segmentize(polygons, 1.0), np.rint)
