"""Measures the speed and peak memory of tiled `fcnjax predict` on a generated GeoTIFF.

    python benchmarks/tiles.py                                 8192x8192, a small U-Net
    python benchmarks/tiles.py --size=20000 --widths=2,4       a tiny U-Net
    python benchmarks/tiles.py --tile=512x512 --overlap=64     options of predict

The raster has four uint16 bands. The weights are random, which does not affect the time. The
command is timed in its own process, from its start to the last file.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BANDS = ("B2", "B3", "B4", "B8")
SIDE = 512  # block size of the raster


def main() -> None:
    """Write a raster and a model, predict, and print the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=8192, help="side in pixels (8192)")
    parser.add_argument("--widths", default="16,32,64,128,256", help="widths of the U-Net")
    args, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        raster, workdir = Path(folder, "made.tif"), Path(folder, "run")
        make_raster(raster, args.size)
        subprocess.run([sys.executable, __file__, "make", workdir, args.widths], check=True)
        options = [f"--model={workdir}", f"--out={folder}/out", *more]
        start = time.perf_counter()
        command = [sys.executable, "-m", "fcnjax", "predict", raster, *options]
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
    # This is the maximum over all children; writing the model takes less than predicting.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(
        f"{args.size}x{args.size}, widths {args.widths}, {os.cpu_count()} cores: {seconds:.1f} s, "
        f"{args.size**2 / 1e6 / seconds:.2f} megapixels/s, peak {peak / 1e9:.2f} GB resident"
    )


def make_raster(path: Path, size: int) -> None:
    """Write coarse-grained noise with a no-data border."""
    import rasterio
    from rasterio.windows import Window

    rng = np.random.default_rng(0)
    block = rng.integers(300, 4000, (len(BANDS), SIDE // 16, SIDE // 16)).astype(np.uint16)
    block = block.repeat(16, 1).repeat(16, 2)
    profile = {
        "driver": "GTiff",
        "height": size,
        "width": size,
        "count": len(BANDS),
        "dtype": "uint16",
        "nodata": 0,
        "crs": "EPSG:32632",
        "transform": rasterio.Affine(10, 0, 400_000, 0, -10, 5_300_000),
        "tiled": True,
        "blockxsize": SIDE,
        "blockysize": SIDE,
        "compress": "deflate",
        "bigtiff": "if_safer",
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.descriptions = BANDS
        for top in range(0, size - size // 40, SIDE):
            for left in range(0, size, SIDE):
                height, width = min(SIDE, size - top), min(SIDE, size - left)
                part = np.roll(block, (top // 7, left // 5), (1, 2))[:, :height, :width]
                raster.write(part, window=Window(left, top, width, height))


def make_workdir(folder: str, widths: str) -> None:
    """Write a workdir with the initial weights of a U-Net."""
    from fcnjax.config import load_config
    from fcnjax.models import build_model
    from fcnjax.optim import make_optimizer
    from fcnjax.training.checkpoint import Checkpoints
    from fcnjax.training.state import init_state, init_variables
    from fcnjax.training.workdir import save_config

    options = {
        "model.widths": widths,
        "data.channels": ",".join(BANDS),
        "data.mean": "0.02,0.02,0.02,0.03",
        "data.std": "0.02,0.02,0.02,0.02",
        "data.class_names": "water,land,cloud",
        "data.palette": "((0,0,255),(0,200,0),(255,255,255))",
        "data.labels.mask_values": "0,1,2",
        "data.labels.encoding": "ids",
    }
    words = [f"--config.{key}={value}" for key, value in options.items()]
    config = load_config("folder:root=none", words)
    model, optimizer = build_model(config), make_optimizer(config)
    checkpoints = Checkpoints(Path(folder), best_metric=config.eval.best_metric)
    save_config(Path(folder), config)
    state = init_state(init_variables(model, config), optimizer, config)
    checkpoints.save(state.replace(step=np.int32(1)), {"batches": 1}, {"mean_iou": 0.0})
    checkpoints.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make_workdir(*sys.argv[2:])
    else:
        main()
