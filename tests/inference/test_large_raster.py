"""A raster of 36 megapixels: killed and resumed, with bounded memory."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")

pytestmark = pytest.mark.slow
SIZE = 6000
BANDS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def raster(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.tif"
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(1, 0, 5e5, 0, -1, 5e6)}
    tiled = {"tiled": True, "compress": "deflate", "photometric": "rgb", "nodata": 0}
    with rasterio.open(path, "w", **profile, **place, **tiled) as file:
        file.descriptions = BANDS
        for top in range(0, SIZE - 300, 300):
            block = rng.integers(1, 256, (3, 20, SIZE // 15), np.uint8)
            block = block.repeat(15, 1).repeat(15, 2)
            file.write(block, window=rasterio.windows.Window(0, top, SIZE, 300))
    return path


def command(raster, workdir, out):
    options = [f"--model={workdir}", f"--out={out}", "--tile=512x512", "--outputs=mask,entropy"]
    return [sys.executable, "-m", "fcnjax", "predict", str(raster), *options]


def test_killed_process_resumes_to_the_same_bytes(raster, workdir, tmp_path):
    subprocess.run(command(raster, workdir, tmp_path / "once"), check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak < 1.5e9
    out = tmp_path / "out"
    for lines in (3, 9):
        process = subprocess.Popen(command(raster, workdir, out))
        journal = out / ".large.tiles" / "journal.jsonl"
        while not journal.is_file() or journal.read_text().count("\n") < lines:
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not (out / "large_mask.tif").exists()
    subprocess.run(command(raster, workdir, out), check=True)
    names = [f"large_{name}.tif" for name in ("disagreement", "entropy", "mask")]
    assert sorted(path.name for path in out.iterdir()) == names
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "once" / name).read_bytes()
    with rasterio.open(raster) as source, rasterio.open(out / "large_mask.tif") as mask:
        assert (mask.crs, mask.transform, mask.shape) == (
            source.crs,
            source.transform,
            source.shape,
        )
        assert (mask.read(1, window=((5750, 6000), (0, SIZE))) == 255).all()
