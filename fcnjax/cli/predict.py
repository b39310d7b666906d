"""`fcnjax predict`: predict images with a checkpoint."""

import argparse

from fcnjax.cli.parsers import make_parser
from fcnjax.cli.predict_arguments import (
    add_request_arguments,
    add_tile_arguments,
    parse_request,
    parse_tiling,
)
from fcnjax.errors import UserError, choose
from fcnjax.runtime.packages import to_stderr

_EXAMPLES = """
fcnjax predict --model=runs/stare photos/ --out=masks
fcnjax predict --model=runs/a --model=runs/b --tta=hflip photos/ --out=masks
fcnjax predict --model=runs/stare eye.png --out=masks --outputs=mask,entropy \\
  --threshold=vessel:0.4 --smallest-region=30
fcnjax predict --model=runs/land scene.tif --out=masks --vectors=gpkg
fcnjax predict --model=runs/heart patient/series3/ --out=masks"""

# Options that need `--runner=ray`.
RAY_ONLY = ("actors", "ray_address", "most_failed", "retry_failed")


def main(argv: list[str]) -> int:
    """Run `fcnjax predict`."""
    args = _parser().parse_args(argv)
    run = choose({"local": _run_local, "ray": _run_on_ray}, args.runner, "--runner")
    _check(args)
    return run(args)


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "predict",
        "Predict images. For each, write NAME_mask.png (class ids with a palette) and "
        "NAME_overlay.png, or the outputs in --outputs, at the image's own size. For a video, "
        "write NAME_overlay.mp4 and, lossless, NAME_mask.mkv; for a volume (NIfTI, or the folder "
        "of a DICOM series) NAME_mask.nii.gz (docs/predict.md).",
        _EXAMPLES,
        usage="fcnjax predict [OPTIONS] [IMAGE ...] --model=MODEL --out=DIR",
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="files, folders (with their subfolders) or globs: images, rasters, videos, NIfTI "
        "volumes, DICOM series",
    )
    add_request_arguments(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="output folder")
    parser.add_argument(
        "--list",
        metavar="FILE",
        help="predict the images listed in a .txt, .csv, .json, .jsonl or .parquet file",
    )
    parser.add_argument(
        "--column", metavar="NAME", help="column of the list with images or paths (image)"
    )
    parser.add_argument(
        "--id-column", metavar="NAME", help="column of the list with output names (id, if any)"
    )
    add_tile_arguments(parser)
    parser.add_argument("--runner", default="local", metavar="local|ray", help="(local)")
    ray = parser.add_argument_group("with --runner=ray, for very many images (docs/scale.md)")
    ray.add_argument(
        "--ray-address", metavar="ADDRESS", help="of a cluster, or auto (start one here)"
    )
    ray.add_argument(
        "--actors", type=int, metavar="N", help="number of models (one per accelerator, or 1)"
    )
    ray.add_argument(
        "--most-failed", type=float, metavar="SHARE", help="exit with 1 if more images fail (1.0)"
    )
    ray.add_argument(
        "--retry-failed", action="store_true", default=None, help="retry images that failed before"
    )
    return parser


def _check(args: argparse.Namespace) -> None:
    if bool(args.images) == bool(args.list):
        raise UserError("IMAGE, --list: give images or a list of them")
    for name in ("column", "id_column"):
        if getattr(args, name) is not None and not args.list:
            raise UserError(f"--{name.replace('_', '-')}: needs --list")
    for name in RAY_ONLY:
        if getattr(args, name) is not None and args.runner != "ray":
            raise UserError(f"--{name.replace('_', '-')}: needs --runner=ray")
    if args.actors is not None and args.actors < 1:
        raise UserError(f"--actors: {args.actors} is not above 0")
    if args.most_failed is not None and not 0 <= args.most_failed <= 1:
        raise UserError(f"--most-failed: {args.most_failed:g} is not between 0 and 1")


def _run_local(args: argparse.Namespace) -> int:
    from fcnjax.inference.dispatch import predict_files
    from fcnjax.inference.inputs.arguments import find_inputs
    from fcnjax.inference.inputs.listing import list_by_stem, read_listing
    from fcnjax.io.progress import track

    tiling = parse_tiling(args)
    if args.list:
        listing = read_listing(args.list, args.column, args.id_column)
    else:
        listing = list_by_stem(find_inputs(args.images, args.out))
    predictor, count = parse_request(args).load(), len(listing)
    for note in listing.notes:
        to_stderr(f"note: {note}")
    results = predict_files(predictor, listing.items(), args.out, tiling, show_progress=count == 1)
    failed = []
    for result in track(results, "predict", count, show=count > 1):
        if result.error is not None and count == 1:
            raise UserError(result.error)
        if result.error is not None:
            to_stderr(f"error: {result.error}")
            failed.append(result.item.source)
    print(f"{count - len(failed)} images predicted, in {args.out}")
    if failed:
        to_stderr(f"error: {len(failed)} of {count} failed:")
        for source in failed:
            to_stderr(f"  {source}")
    return int(bool(failed))


def _run_on_ray(args: argparse.Namespace) -> int:
    from fcnjax.inference.inputs.listing import list_files, read_listing
    from fcnjax.inference.media.media_types import reject_media
    from fcnjax.inference.runners.ray import Options, predict

    parse_tiling(args)  # raises for options of the local runner
    if args.list:
        listing = read_listing(args.list, args.column, args.id_column)
    else:
        listing = list_files(args.images, args.out)
    reject_media(listing.sources)
    for note in listing.notes:
        to_stderr(f"note: {note}")
    options = Options(
        request=parse_request(args),
        out=args.out,
        actors=args.actors,
        address=args.ray_address,
        retry_failed=bool(args.retry_failed),
        most_failed=1.0 if args.most_failed is None else args.most_failed,
    )
    return predict(listing, options)
