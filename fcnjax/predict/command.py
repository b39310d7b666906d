"""`fcnjax predict`: label images with a checkpoint."""

import argparse
import glob
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.progress import track

from fcnjax.data.decode import IMAGE_SUFFIXES, read_image
from fcnjax.errors import UserError
from fcnjax.predict.arguments import add_model_arguments, parse_step
from fcnjax.predict.model import load
from fcnjax.predict.writers import write_prediction


def find_images(arguments: Iterable[str]) -> list[Path]:
    """The image files that arguments name: files, folders (their images) and globs, in order.

    Raises:
        UserError: One names nothing; or two files would write the same output.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            paths = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        elif path.is_file():
            paths = [path]
        else:
            # Path.glob takes no absolute patterns.
            paths = sorted(map(Path, glob.glob(argument, recursive=True)))  # noqa: PTH207
        if not paths:
            raise UserError(
                f"{argument}: no image there; valid: a file, a folder or a glob of "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        found |= dict.fromkeys(paths)
    stems: dict[str, Path] = {}
    for path in found:
        if path.stem in stems:
            raise UserError(
                f"{path}: would overwrite the output of {stems[path.stem]}, which has the same name"
            )
        stems[path.stem] = path
    return list(found)


def main(argv: list[str]) -> int:
    """`fcnjax predict`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax predict",
        description="Label images: for each, NAME_mask.png (class ids, with palette) and "
        "NAME_overlay.png, at the image's own size.",
        epilog="example: fcnjax predict --workdir=runs/stare photos/ --out=masks",
        allow_abbrev=False,
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="files, folders or globs")
    add_model_arguments(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="where the masks go")
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="write NAME_probabilities.npy too: float32 [height, width, classes]",
    )
    args = parser.parse_args(argv)
    paths = find_images(args.images)
    model = load(args.workdir, parse_step(args.step), args.dtype)
    channels = model.config.data.channels
    # One image is read ahead, and outputs are compressed, while the device works.
    with ThreadPoolExecutor(max_workers=3) as pool:
        coming = [pool.submit(read_image, path, channels) for path in paths[:1]]
        writing = []
        for index, path in enumerate(track(paths, description="predict", disable=len(paths) < 2)):
            image = coming.pop(0).result()
            if index + 1 < len(paths):
                coming.append(pool.submit(read_image, paths[index + 1], channels))
            prediction = model(image, probabilities=args.probabilities)
            if len(writing) > 2:
                writing.pop(0).result()
            writing.append(
                pool.submit(write_prediction, args.out, path.stem, image, prediction, model.palette)
            )
        for job in writing:
            job.result()
    print(f"{len(paths)} images labelled, in {args.out}")
    return 0
