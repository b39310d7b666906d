"""Compares the speed of reading, decoding and cropping with that of a PyTorch DataLoader.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --images=48 --seconds=20 --out=input.json
    python benchmarks/input_pipeline.py --torch=off          without torch and albumentations

Generated images of 1024x2048 (PNG or JPEG, with PNG masks) are cropped at random to 512x512. The
DataLoader reads with OpenCV, and crops and flips with albumentations; fcnjax flips on the device. A
further row reads fcnjax's disk cache, for which the DataLoader has no equivalent. The two alternate
in chunks. Each chunk opens a new stream and skips its first batches, and the table shows medians.
`a core` is images per second of CPU time, which is hardly affected by other processes and known
only without workers. The first table shows the memory of the process over an epoch, the last one
the time to augment a batch on JAX's device.
"""

import argparse
import functools
import importlib.util
import itertools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import street_pictures
from timing import Contender, time_in_turn, warmed, write_report

SIZE, CROP = (1024, 2048), (512, 512)
BATCH = 4
CHUNKS = 3
AUGMENTED = 16  # batch size of the augmentation
PASSES = 4  # over the data set, while the memory is measured
PEERS = {"torch": "torch", "albumentations": "albumentations", "cv2": "opencv-python-headless"}
MIB = 2**20


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=24, help="images per data set (24)")
    parser.add_argument("--seconds", type=float, default=9.0, help="duration of each row (9)")
    parser.add_argument("--torch", choices=("on", "off"), default="on")
    parser.add_argument("--out", help="write the results to this JSON file")
    args = parser.parse_args()
    if args.images < BATCH or args.seconds <= 0:
        parser.error(f"--images: valid: {BATCH} or more; --seconds: valid: above 0")
    missing = [pip for name, pip in PEERS.items() if not importlib.util.find_spec(name)]
    if args.torch == "on" and missing:
        print(f"without the DataLoader: pip install {' '.join(missing)}")
        args.torch = "off"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FCNJAX_CACHE"] = str(Path(folder) / "cache")
        sizes = street_pictures.write_sets(Path(folder), args.images, SIZE)
        print(", ".join(f"{kind} {size / 1e3:.0f} kB" for kind, size in sizes.items()))
        results = {"bytes_a_file": sizes}
        # This comes first, since memory freed by other rows would hide its growth.
        results["memory"] = memory(Path(folder), args.images * PASSES)
        results["rates"] = rates(Path(folder), args)
    results["augmentation"] = augmentation()
    if args.out:
        write_report(args.out, {**vars(args), "cores": os.cpu_count()}, results)


def config_of(root: Path, kind: str, cache: str | None, workers: int):
    """Return a resolved config for a data set."""
    from fcnjax.config import default_config
    from fcnjax.data import resolve

    config = default_config()
    config.data.root, config.data.split.by = str(root / kind), "folder"
    names = tuple(f"class {i}" for i in range(street_pictures.CLASSES))
    config.data.class_names, config.data.labels.mask_values = names, tuple(range(len(names)))
    config.data.loading.cache, config.data.loading.workers = cache, workers
    config.augment.crop, config.train.batch_size = CROP, BATCH
    return resolve(config)[0]


def fcnjax_batches(root: Path, kind: str, cache: str | None, workers: int) -> Iterator[dict]:
    """Yield batches of fcnjax forever."""
    from fcnjax.data import open_source
    from fcnjax.data.loading.pipeline import train_batches

    config = config_of(root, kind, cache, workers)
    return train_batches(open_source(config, "train"), config, 0)


class AlbumentationsDataset:
    """The same examples read with OpenCV and albumentations, nearly without end."""

    def __init__(self, root: Path, kind: str):
        import albumentations

        self._images = sorted((root / kind / "images" / "train").iterdir())
        self._masks = root / kind / "masks" / "train"
        crop, mirror = albumentations.RandomCrop(*CROP), albumentations.HorizontalFlip(p=0.5)
        self._transform = albumentations.Compose([crop, mirror])

    def __len__(self) -> int:
        return 2**24

    def __getitem__(self, index: int) -> dict:
        import cv2

        path = self._images[index % len(self._images)]
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        mask = cv2.imread(str(self._masks / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        return self._transform(image=image, mask=mask)


def dataloader_batches(root: Path, kind: str, workers: int) -> Iterator[dict]:
    """Yield batches of a DataLoader forever."""
    from torch.utils.data import DataLoader

    return iter(DataLoader(AlbumentationsDataset(root, kind), BATCH, num_workers=workers))


def rates(root: Path, args: argparse.Namespace) -> list[dict]:
    """Print and return the images per second of each row."""
    print(
        f"\n{'images/s':<22}{'fcnjax':>10}{'DataLoader':>12}{'over it':>9}"
        f"{'a core':>10}{'DataLoader':>12}{'over it':>9}"
    )
    rows = []
    for cache, kind, workers in itertools.product((None, "disk"), ("png", "jpg"), (0, 2)):
        makers = {"fcnjax": functools.partial(fcnjax_batches, root, kind, cache, workers)}
        if args.torch == "on":
            makers["torch"] = functools.partial(dataloader_batches, root, kind, workers)
        chunks = alternate(makers, workers, args.seconds / CHUNKS)
        name = f"{'cache of ' if cache else ''}{kind}, {workers} workers"
        rows.append({"name": name, "chunks": chunks})
        wall = [median(rate for rate, _ in found) for found in chunks.values()]
        core = [median(rate for _, rate in found) for found in chunks.values()]
        print(f"{name:<22}{cells(wall)}{cells(core if workers == 0 else [])}", flush=True)
    return rows


def cells(found: list[float]) -> str:
    """Format fcnjax's rate, the other rate and their ratio; unknown values are dashes."""
    ours, theirs = [*found, None, None][:2]
    ratio = ours / theirs if ours and theirs else None
    shown = (f"{ours:.1f}" if ours else "-", f"{theirs:.1f}" if theirs else "-")
    return f"{shown[0]:>10}{shown[1]:>12}{f'{ratio:.2f}' if ratio else '-':>9}"


def alternate(
    makers: dict[str, Callable], workers: int, seconds: float
) -> dict[str, list[tuple[float, float]]]:
    """Return the images per second and per CPU second of each chunk, alternating contenders."""
    from fcnjax.data.loading.eval_batches import READ_THREADS

    found = {name: [] for name in makers}
    for _ in range(CHUNKS):
        for name, make in makers.items():
            # Batches that are read in parallel arrive together, so count in multiples of their
            # number.
            side_by_side = max(workers, 1) * (READ_THREADS if name == "fcnjax" else 1)
            found[name].append(rate_of(make(), side_by_side, seconds))
    return found


def rate_of(stream: Iterator[dict], side_by_side: int, seconds: float) -> tuple[float, float]:
    """Return a stream's images per second and per CPU second, after a warm-up."""
    for _ in range(side_by_side):
        next(stream)
    start, busy, count = time.perf_counter(), time.process_time(), 0
    while count == 0 or time.perf_counter() - start < seconds:
        for _ in range(side_by_side):
            count += len(next(stream)["image"])
    rates = count / (time.perf_counter() - start), count / (time.process_time() - busy)
    if hasattr(stream, "close"):
        stream.close()
    return rates


def memory(root: Path, images: int) -> dict[str, tuple[float, float]]:
    """Print the resident memory after a fifth of the images, and after all."""
    page = Path("/proc/self/statm")
    if not page.is_file():
        print("\nresident memory: unknown on this system")
        return {}
    found = {}
    for cache in (None, "disk"):
        stream, held = fcnjax_batches(root, "jpg", cache, 0), []
        for batch in range(images // BATCH):
            next(stream)
            if batch in (images // BATCH // 5, images // BATCH - 1):
                resident = int(page.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
                held.append(resident / MIB)
        stream.close()
        name = "cache on disk" if cache else "jpg"
        found[name] = (held[0], held[-1])
        print(
            f"\nresident memory, {name}, {images} images: {held[0]:.0f} MB after a fifth, "
            f"{held[-1]:.0f} MB at the end",
            end="",
        )
    print()
    return found


def augmentations() -> dict:
    """Return configs of the augmentation by name."""
    from fcnjax.config import default_config, load_config

    driving, everything = load_config("driving_cityscapes"), default_config()
    everything.augment.update(driving.augment)
    everything.augment.update(
        {"rotation": 10.0, "aspect": 0.25, "shear": 5.0, "perspective": 0.1, "elastic": 4.0}
        | {"vflip": 0.5, "quarter_turns": 0.5, "gamma": 0.25, "hue": 0.05, "grayscale": 0.1}
        | {"blur": 1.5, "noise": 0.05, "cutout": 0.5}
    )
    for config in (driving, everything):
        config.augment.crop = CROP
    return {"driving_cityscapes": driving, "everything on": everything}


def augmentation() -> dict[str, dict]:
    """Print and return the time to augment a batch on the device."""
    import jax
    import numpy as np

    from fcnjax.augment import augment_batch
    from fcnjax.data.loading.canvas import canvas_size

    device = jax.devices()[0].device_kind
    print(f"\naugmentation of {AUGMENTED} of {CROP[0]}x{CROP[1]} on {device}")
    found = {}
    for name, config in augmentations().items():
        canvas = canvas_size(config.augment)
        rng = np.random.default_rng(0)
        images = jax.device_put(rng.integers(0, 256, (AUGMENTED, *canvas, 3), np.uint8))
        labels = jax.device_put(rng.integers(0, 19, (AUGMENTED, *canvas), np.uint8))
        step = jax.jit(lambda key, x, y, c=config: augment_batch(key, x, y, c))
        results = []

        def call(step=step, images=images, labels=labels, results=results):
            results[:] = step(jax.random.key(0), images, labels)

        wait = lambda results=results: jax.block_until_ready(results)  # noqa: E731
        contender = warmed(Contender(name, call, wait), 1)
        time_in_turn([contender], CHUNKS)
        found[name] = {"ms": 1e3 * contender.median, "device": device, "canvas": canvas}
        print(f"  {name:<24}{1e3 * contender.median:>9.1f} ms   from {canvas[0]}x{canvas[1]}")
    return found


if __name__ == "__main__":
    main()
