"""Polygons of a mask: coordinates, areas and simplification."""

import numpy as np
import pytest

from fcnjax.inference.outputs.vectors import write_vectors

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")

NAMES = ("water", "land", "cloud")


@pytest.fixture
def mask(tmp_path):
    """Discs of land and cloud in water, columns without data; 10 m pixels in UTM zone 33."""
    ys, xs = np.mgrid[:80, :100]
    values = np.zeros((80, 100), np.uint8)
    values[(ys - 30) ** 2 + (xs - 40) ** 2 < 25**2] = 1
    values[(ys - 40) ** 2 + (xs - 50) ** 2 < 15**2] = 2
    values[:, 90:] = 255
    path = tmp_path / "scene_mask.tif"
    profile = {"driver": "GTiff", "height": 80, "width": 100, "count": 1, "dtype": "uint8"}
    place = {
        "crs": "EPSG:32633",
        "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    }
    with rasterio.open(path, "w", nodata=255, **profile, **place) as raster:
        raster.write(values, 1)
    return path, values


def polygons_of(path):
    meta, _, geometry, (ids, names) = pyogrio.raw.read(path)
    return meta["crs"], shapely.from_wkb(geometry), ids, names


def test_polygons_cover_the_pixels_of_their_class(mask, tmp_path):
    path, values = mask
    write_vectors(path, tmp_path / "m.gpkg", NAMES, 0)
    crs, polygons, ids, names = polygons_of(tmp_path / "m.gpkg")
    assert crs == "EPSG:32633"
    assert ids.tolist() == [NAMES.index(name) for name in names]
    assert set(ids) == {0, 1, 2}
    for i in range(3):
        assert shapely.area(polygons[ids == i]).sum() == 100 * (values == i).sum()
    assert shapely.total_bounds(polygons).tolist() == [500_000, 4_999_200, 500_900, 5_000_000]


def test_simplified_neighbours_still_share_their_edges(mask, tmp_path):
    path, values = mask
    write_vectors(path, tmp_path / "exact.gpkg", NAMES, 0)
    write_vectors(path, tmp_path / "m.gpkg", NAMES, 1.5)
    _, exact, *_ = polygons_of(tmp_path / "exact.gpkg")
    _, polygons, ids, _ = polygons_of(tmp_path / "m.gpkg")
    assert shapely.coverage_is_valid(polygons)
    assert (
        shapely.get_num_coordinates(polygons).sum() < shapely.get_num_coordinates(exact).sum() / 3
    )
    # No gap and no overlap: the total area is unchanged.
    assert shapely.area(polygons).sum() == pytest.approx(100 * (values < 255).sum())
    (cloud,) = polygons[ids == 2]
    assert shapely.hausdorff_distance(cloud, exact[ids == 2][0]) < 20


def test_geojson_is_in_longitude_and_latitude(mask, tmp_path):
    path, _ = mask
    write_vectors(path, tmp_path / "m.geojson", NAMES, 1)
    crs, polygons, ids, _ = polygons_of(tmp_path / "m.geojson")
    assert crs == "EPSG:4326"
    assert set(ids) == {0, 1, 2}
    # In zone 33, 500 km easting is 15 degrees, and 5,000 km northing just above 45.15.
    west, south, east, north = shapely.total_bounds(polygons)
    assert west == pytest.approx(15, abs=1e-6)
    assert east == pytest.approx(15 + 900 / (111_320 * np.cos(np.radians(45.15))), abs=1e-4)
    assert north == pytest.approx(45.153, abs=1e-3)
    assert north - south == pytest.approx(800 / 111_130, abs=1e-4)


def test_mask_without_data_has_no_polygons(mask, tmp_path):
    path, values = mask
    with rasterio.open(path, "r+") as raster:
        raster.write(np.full_like(values, 255), 1)
    write_vectors(path, tmp_path / "m.gpkg", NAMES, 1)
    assert len(polygons_of(tmp_path / "m.gpkg")[1]) == 0
