"""TIFF files of five writers, each with the pixels that are to be read from it.

`PYTHONPATH=. python tests/helpers/tiff_grid.py` prints the table of docs/tiff.md.
"""

import tempfile
from pathlib import Path

import tiff_by_gdal
import tiff_by_others
import tiff_by_tifffile
from tiff_cases import Case

GRIDS = (tiff_by_tifffile.tifffile_grid, tiff_by_gdal.rasterio_grid)
FEATURES = (
    tiff_by_tifffile.types,
    tiff_by_tifffile.colours,
    tiff_by_tifffile.codecs,
    tiff_by_tifffile.arrangements,
    tiff_by_gdal.rasterio_features,
    tiff_by_others.pillow_features,
    tiff_by_others.opencv_features,
    tiff_by_others.imagemagick_features,
)


def features() -> list[Case]:
    """The cases that are always tested, and that the table has."""
    return [case for make in FEATURES for case in make()]


def table() -> str:
    """What becomes of each case, as Markdown."""
    from fcnjax.data.readers.decode import read_image
    from fcnjax.errors import UserError

    lines = ["| writer | file | channels | |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(features()):
            path = Path(folder, f"{number}.tif")
            case.write(path)
            try:
                read_image(path, case.channels, case.pages)
                found = "read"
            except UserError as error:
                found = "refused: " + str(error).removeprefix(f"{path}: ").partition(";")[0]
            lines.append(f"| {case.writer} | {case.feature} | {case.channels} | {found} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
