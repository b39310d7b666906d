"""The mask of a raster as polygons, a layer of GeoJSON or a GeoPackage."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic

# By the ending of the file: what GDAL calls the format, and its options. RFC 7946 has GeoJSON in
# longitude and latitude of WGS 84, to which GDAL brings it.
DRIVERS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "geojson": ("GeoJSON", MappingProxyType({"RFC7946": "YES"})),
        "gpkg": ("GPKG", MappingProxyType({})),
    }
)


def require_vectors() -> None:
    """Raises UserError where a package that makes polygons is not installed."""
    try:
        import pyogrio  # noqa: F401
        import rasterio  # noqa: F401
        import shapely  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--vectors: needs rasterio, shapely and pyogrio: pip install 'fcnjax[geo]'"
        ) from error


def write_vectors(mask: Path, path: Path, class_names: Sequence[str], simplify: float) -> None:
    """Writes the regions of a mask as polygons, each with its `class` (id) and `name`.

    Edges are simplified by Visvalingam and Whyatt's rule, those that two polygons share alike, so
    that there are neither gaps nor overlaps. Pixels without data are in no polygon.

    Args:
        mask: A GeoTIFF of class ids, with a coordinate system.
        path: The file; its ending is a key of `DRIVERS`.
        class_names: By id.
        simplify: The tolerance in pixels: corners that span a triangle of less than its square in
            area are taken away. 0: the edges of pixels stay.

    Raises:
        UserError: It cannot be written.
    """
    import pyogrio
    import rasterio
    import shapely

    with rasterio.open(mask) as raster:
        polygons, ids = _regions(raster)
        to_map, crs = np.reshape(raster.transform, (3, 3)), raster.crs.to_wkt()
    # In pixels, whose corners are whole numbers.
    polygons = shapely.transform(polygons, lambda xy: np.rint(_moved(xy, np.linalg.inv(to_map))))
    if simplify and len(polygons):
        polygons = shapely.coverage_simplify(_with_all_corners(polygons), simplify)
    polygons = shapely.transform(polygons, lambda xy: _moved(xy, to_map))
    driver, options = DRIVERS[path.suffix[1:]]
    names = np.asarray([class_names[i] for i in ids], object)
    with atomic(path) as temporary:
        temporary.unlink()  # a GeoPackage is not written over another file
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


def _moved(xy: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Points `[N, 2]` by a transform `[3, 3]`."""
    return xy @ transform[:2, :2].T + transform[:2, 2]


def _regions(raster: Any) -> tuple[np.ndarray, np.ndarray]:
    """The regions of one class, whose pixels touch at sides: polygons on the map, and classes."""
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


def _with_all_corners(polygons: np.ndarray) -> np.ndarray:
    """The polygons with a vertex at each corner of a pixel that lies on their edges.

    A corner of one polygon may lie amid a side of another, and a shared edge is known by its
    vertices.
    """
    import shapely

    return shapely.transform(shapely.segmentize(polygons, 1.0), np.rint)
