"""`fcnjax predict`: label images with a checkpoint."""

import argparse

from rich.progress import track

from fcnjax.cli.predict_arguments import add_request_arguments, request_of
from fcnjax.cli.tile_arguments import add_tile_arguments, tiling_of
from fcnjax.errors import UserError, choose
from fcnjax.inference.inputs.arguments import find_inputs
from fcnjax.inference.inputs.listing import Listing, list_files, name_by_stem, read_listing
from fcnjax.inference.media.media_types import refuse_forms
from fcnjax.inference.tiling.predictor import label_all
from fcnjax.runtime.packages import to_stderr

_EXAMPLES = """\
examples:
  fcnjax predict --workdir=runs/stare photos/ --out=masks
  fcnjax predict --workdir=runs/a --workdir=runs/b --tta=hflip photos/ --out=masks
  fcnjax predict --workdir=runs/stare eye.png --out=masks --outputs=mask,entropy \\
    --threshold=vessel:0.4 --smallest-region=30
  fcnjax predict --workdir=runs/land scene.tif --out=masks --vectors=gpkg
  fcnjax predict --workdir=runs/heart patient/series3/ --out=masks"""

# What only `--runner=ray` takes.
RAY_ONLY = ("actors", "ray_address", "most_failed", "retry_failed")


def main(argv: list[str]) -> int:
    """`fcnjax predict`."""
    args = _parser().parse_args(argv)
    run = choose({"local": _run_here, "ray": _run_on_ray}, args.runner, "--runner")
    _check(args)
    return run(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fcnjax predict",
        usage="fcnjax predict [OPTIONS] [IMAGE ...] --workdir=DIR --out=DIR",
        description="Label images: for each, NAME_mask.png (class ids, with palette) and\n"
        "NAME_overlay.png, or what --outputs asks for, at the image's own size. Of a video\n"
        "NAME_overlay.mp4 and, without loss, NAME_mask.mkv; of a volume, NIfTI\n"
        "or the folder of a DICOM series, NAME_mask.nii.gz (docs/predict.md).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="files, folders (with their subfolders) or globs: images, rasters, videos, NIfTI "
        "volumes, DICOM series",
    )
    add_request_arguments(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="where the masks go")
    parser.add_argument(
        "--list", metavar="FILE", help="label what this .txt, .csv, .json(l) or .parquet lists"
    )
    parser.add_argument("--column", metavar="NAME", help="with the images or their paths (image)")
    parser.add_argument("--id-column", metavar="NAME", help="with names (id, where there is one)")
    add_tile_arguments(parser)
    parser.add_argument("--runner", default="local", metavar="local|ray", help="(local)")
    ray = parser.add_argument_group("with --runner=ray, for very many images (docs/scale.md)")
    ray.add_argument("--ray-address", metavar="ADDRESS", help="of a cluster, or auto (start one)")
    ray.add_argument("--actors", type=int, metavar="N", help="models (one an accelerator, or 1)")
    ray.add_argument(
        "--most-failed", type=float, metavar="SHARE", help="above which it exits with 1 (1.0)"
    )
    ray.add_argument(
        "--retry-failed", action="store_true", default=None, help="try again what failed before"
    )
    return parser


def _check(args: argparse.Namespace) -> None:
    if bool(args.images) == bool(args.list):
        raise UserError("IMAGE, --list: give images or a list of them")
    for name in ("column", "id_column"):
        if getattr(args, name) is not None and not args.list:
            raise UserError(f"--{name.replace('_', '-')}: is of a --list, and there is none")
    for name in RAY_ONLY:
        if getattr(args, name) is not None and args.runner != "ray":
            raise UserError(f"--{name.replace('_', '-')}: needs --runner=ray")
    if args.actors is not None and args.actors < 1:
        raise UserError(f"--actors: {args.actors} is not above 0")
    if args.most_failed is not None and not 0 <= args.most_failed <= 1:
        raise UserError(f"--most-failed: {args.most_failed:g} is not between 0 and 1")


def _listed(args: argparse.Namespace) -> Listing:
    return read_listing(args.list, args.column, args.id_column)


def _run_here(args: argparse.Namespace) -> int:
    tiling = tiling_of(args)
    listing = _listed(args) if args.list else name_by_stem(find_inputs(args.images, args.out))
    predictor, count = request_of(args).load(), len(listing)
    for note in listing.notes:
        to_stderr(f"note: {note}")
    done = label_all(predictor, listing.items(), args.out, tiling, alone=count == 1)
    failed = []
    for outcome in track(done, total=count, description="predict", disable=count < 2):
        if outcome.error is not None and count == 1:
            raise UserError(outcome.error)
        if outcome.error is not None:
            to_stderr(f"error: {outcome.error}")
            failed.append(outcome.item.source)
    print(f"{count - len(failed)} images labelled, in {args.out}")
    if failed:
        to_stderr(f"error: {len(failed)} of {count} could not be labelled:")
        for source in failed:
            to_stderr(f"  {source}")
    return int(bool(failed))


def _run_on_ray(args: argparse.Namespace) -> int:
    from fcnjax.inference.runners.ray import Options, predict

    tiling_of(args)  # refuses what is not for this runner
    listing = _listed(args) if args.list else list_files(args.images, args.out)
    refuse_forms(listing.sources)
    for note in listing.notes:
        to_stderr(f"note: {note}")
    options = Options(
        request=request_of(args),
        out=args.out,
        actors=args.actors,
        address=args.ray_address,
        retry_failed=bool(args.retry_failed),
        most_failed=1.0 if args.most_failed is None else args.most_failed,
    )
    return predict(listing, options)
