"""`fcnjax export`: a trained model as a program for another runtime."""

import argparse
import dataclasses
import re
from pathlib import Path

from fcnjax.data.pixel_type import PIXEL_TYPES
from fcnjax.errors import UserError, choose
from fcnjax.export.check import BOUNDS, differences
from fcnjax.export.formats import FORMATS, Format
from fcnjax.export.program import Source, input_type, without_source_paths
from fcnjax.inference import load_variables, parse_step
from fcnjax.inference.identity import EXPORT_SECTION, EXPORT_VERSION
from fcnjax.io.atomic_files import check_free, new_folder, sha256
from fcnjax.models import build_model
from fcnjax.training.workdir import save_config, without_places


class _Differs(Exception):
    """The exported model is too far from the workdir's."""


def main(argv: list[str]) -> int:
    """`fcnjax export`; 1 where the file does not say what the workdir's model says."""
    args = _parser().parse_args(argv)
    form = choose(FORMATS, args.format, "--format")
    sizes = _sizes(args.size, args.format, form)
    check_free(args.out)
    loaded = load_variables(args.workdir, parse_step(args.step))
    source = Source(*loaded, input_type(loaded[0], args.input), sizes)
    dtype = args.dtype or source.config.model.dtype
    if dtype not in form.write:
        valid = ", ".join(form.write)
        raise UserError(f"--dtype: {dtype} is not for {args.format}; valid: {valid}")
    exact = _computing_in("float32", source)
    try:
        with new_folder(args.out) as folder:
            # Computed in 8 bits is what a runtime makes of a program in float32.
            given = exact if dtype == "int8" else _computing_in(dtype, exact)
            with without_source_paths():
                form.write[dtype](given, folder)
            _describe(folder, given, args.format, dtype)
            _check(folder, exact, args.format, dtype)
    except _Differs as differs:
        print(differs)
        return 1
    for path in sorted(Path(args.out).iterdir()):
        print(f"{path}: {_bytes(path) / 2**20:.1f} MiB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fcnjax export",
        description="Write a trained model as a program for another runtime: images as stored in, "
        "class ids and probabilities out, normalisation inside. The file is run in its own runtime "
        "and compared with the model; one that differs is not kept (docs/export.md).",
        epilog="example: fcnjax export --workdir=runs/stare --format=stablehlo --out=vessels",
        allow_abbrev=False,
    )
    add = parser.add_argument
    help_of = "a folder that train or publish made, or hf://OWNER/REPO"
    add("--workdir", required=True, metavar="DIR", help=help_of)
    add("--format", required=True, metavar="|".join(FORMATS), help="of the program")
    add("--out", required=True, metavar="DIR", help="the folder to write")
    add("--step", default="best", metavar="best|latest|N", help="which checkpoint (best)")
    dtypes = "|".join(dict.fromkeys(name for form in FORMATS.values() for name in form.write))
    add("--dtype", metavar=dtypes, help="of the computation (as it was trained)")
    help_of = (
        "type of the pixels it takes (the model's own); float32 is for pixels in 0..1, unless the "
        "model's own is float32"
    )
    add("--input", metavar="|".join(PIXEL_TYPES), help=help_of)
    sized = ", ".join(name for name, form in FORMATS.items() if form.sized)
    help_of = f"of the images, where they are fixed ({sized}); may be given several times"
    add("--size", action="append", default=[], metavar="HxW", help=help_of)
    return parser


def _sizes(given: list[str], name: str, form: Format) -> tuple[tuple[int, int], ...]:
    if given and not form.sized:
        raise UserError(f"--size: {name} takes images of any size; leave it out")
    if form.sized and not given:
        raise UserError(f"--size: {name} is for images of given sizes; give one, such as 256x256")
    for text in given:
        if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", text):
            raise UserError(f"--size: {text!r} is no height and width, such as 256x256")
    return tuple(dict.fromkeys(tuple(map(int, text.split("x"))) for text in given))


def _computing_in(dtype: str, source: Source) -> Source:
    config = source.config.copy_and_resolve_references()
    config.model.dtype = dtype
    return dataclasses.replace(source, config=config, model=build_model(config))


def _describe(folder: Path, source: Source, name: str, dtype: str) -> None:
    """Writes config.json: all that a reader of the program needs."""
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
    told = {
        "format_version": EXPORT_VERSION,
        "format": name,
        "step": source.step,
        "dtype": dtype,
        "input": source.input_dtype,
        "sizes": source.sizes,
        "sha256": files,
    }
    save_config(folder, without_places(source.config), **{EXPORT_SECTION: told})


def _check(folder: Path, source: Source, name: str, dtype: str) -> None:
    """Prints how far the file is from the model.

    Raises:
        _Differs: Too far.
    """
    bound, good = BOUNDS[dtype], True
    print(f"{name}, computing in {dtype}, beside the workdir's model in float32:")
    for found in differences(source, name, FORMATS[name], folder):
        good &= found.within(bound)
        print(f"  {found}", flush=True)
    if not good:
        raise _Differs(
            f"too far: at most {bound.probability:g} and {100 * bound.labels:g} % are allowed; "
            "nothing is kept"
        )


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
