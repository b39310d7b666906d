"""`fcnjax export`: write a trained model as a program for another runtime."""

import argparse
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

from fcnjax.cli.parsers import add_model, add_resize, add_step, make_parser, parse_step
from fcnjax.config.schema import KEYS
from fcnjax.errors import UserError, choose
from fcnjax.export.formats import FORMATS, FormatSpec
from fcnjax.io.atomic_files import check_free, new_folder, sha256

if TYPE_CHECKING:
    from fcnjax.export.program import ExportSource


class _CheckFailed(Exception):
    """The exported model differs too much from that of the workdir."""


def main(argv: list[str]) -> int:
    """Run `fcnjax export`; return 1 if the exported model differs too much from the original."""
    args = _parser().parse_args(argv)
    spec = choose(FORMATS, args.format, "--format")
    sizes = _parse_sizes(args.size, args.format, spec)
    if args.layout not in spec.layouts:
        valid = ", ".join(spec.layouts)
        raise UserError(f"--layout: {args.layout!r} is not for {args.format}; valid: {valid}")
    check_free(args.out)

    from fcnjax.export.program import ExportSource, choose_input_type, without_source_paths
    from fcnjax.inference import load_variables

    loaded = load_variables(args.model, parse_step(args.step), resize=args.resize)
    input_type = choose_input_type(loaded[0], args.input)
    source = ExportSource(*loaded, input_type, sizes, args.layout)
    dtype = args.dtype or source.config.model.dtype
    if dtype not in spec.write:
        valid = ", ".join(spec.write)
        raise UserError(f"--dtype: {dtype} is not for {args.format}; valid: {valid}")
    reference = _with_dtype("float32", source)
    try:
        with new_folder(args.out) as folder:
            # The runtime quantizes a float32 program to int8.
            exported = reference if dtype == "int8" else _with_dtype(dtype, reference)
            with without_source_paths():
                least_size = spec.write[dtype](exported, folder)
            _write_config(folder, exported, args.format, dtype, least_size)
            _check(folder, reference, args.format, dtype, least_size)
    except _CheckFailed as failure:
        print(failure)
        return 1
    for path in sorted(Path(args.out).iterdir()):
        print(f"{path}: {_bytes(path) / 2**20:.1f} MiB")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "export",
        "Write a trained model as a program for another runtime. The program takes "
        "images as stored and returns class ids and probabilities; it includes the normalisation. "
        "The file is run in its own runtime and compared with the model, and discarded if it "
        "differs (docs/export.md).",
        "fcnjax export --model=runs/stare --format=stablehlo --out=vessels",
    )
    add = parser.add_argument
    add_model(parser, required=True)
    add("--format", required=True, metavar="|".join(FORMATS), help="format of the program")
    add("--out", required=True, metavar="DIR", help="output folder")
    add_step(parser)
    add_resize(parser)
    dtypes = "|".join(dict.fromkeys(name for spec in FORMATS.values() for name in spec.write))
    add("--dtype", metavar=dtypes, help="type of the computation (that of the training)")
    text = (
        "pixel type of the input (the model's own); float32 is for pixels in 0..1, unless the "
        "model's own is float32"
    )
    add("--input", metavar="|".join(KEYS["data.pixel_type"].valid.choices), help=text)
    fixed = ", ".join(name for name, spec in FORMATS.items() if spec.has_fixed_sizes)
    text = f"size of the images, for formats with fixed sizes ({fixed}); may be repeated"
    add("--size", action="append", default=[], metavar="HxW", help=text)
    layouts = "|".join(dict.fromkeys(name for spec in FORMATS.values() for name in spec.layouts))
    channels_first = ", ".join(name for name, spec in FORMATS.items() if "nchw" in spec.layouts)
    text = f"order of the axes of images and probabilities (nhwc); nchw is for {channels_first}"
    add("--layout", default="nhwc", metavar=layouts, help=text)
    return parser


def _parse_sizes(texts: list[str], name: str, spec: FormatSpec) -> tuple[tuple[int, int], ...]:
    if texts and not spec.has_fixed_sizes:
        raise UserError(f"--size: {name} takes images of any size; leave it out")
    if spec.has_fixed_sizes and not texts:
        raise UserError(f"--size: {name} is for images of given sizes; give one, such as 256x256")
    for text in texts:
        if not re.fullmatch("[1-9][0-9]*x[1-9][0-9]*", text):
            raise UserError(f"--size: {text!r} is no height and width, such as 256x256")
    return tuple(dict.fromkeys(tuple(map(int, text.split("x"))) for text in texts))


def _with_dtype(dtype: str, source: "ExportSource") -> "ExportSource":
    """Return the model with another computation type."""
    from fcnjax.models import build_model

    config = source.config.copy_and_resolve_references()
    config.model.dtype = dtype
    return dataclasses.replace(source, config=config, model=build_model(config))


def _write_config(
    folder: Path, source: "ExportSource", name: str, dtype: str, least_size: int | None
) -> None:
    """Write config.json, with the metadata that a reader of the program needs."""
    from fcnjax.inference.identity import EXPORT_SECTION, EXPORT_VERSION
    from fcnjax.training.workdir import save_config, without_machine_keys

    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
    metadata = {
        "format_version": EXPORT_VERSION,
        "format": name,
        "step": source.step,
        "dtype": dtype,
        "input": source.input_dtype,
        "sizes": source.sizes,
        "layout": source.layout,
        "least_size": least_size,
        "sha256": files,
    }
    save_config(folder, without_machine_keys(source.config), **{EXPORT_SECTION: metadata})


def _check(
    folder: Path, source: "ExportSource", name: str, dtype: str, least_size: int | None
) -> None:
    """Print the differences between the exported model and that of the workdir.

    Raises:
        _CheckFailed: A difference exceeds the tolerance.
    """
    from fcnjax.export.check import TOLERANCES, compare_with_workdir

    tolerance, passed = TOLERANCES[dtype], True
    print(f"{name}, computing in {dtype}, compared with the workdir's model in float32:")
    for difference in compare_with_workdir(source, name, FORMATS[name], folder, least_size):
        passed &= difference.is_within(tolerance)
        print(f"  {difference}", flush=True)
    if not passed:
        raise _CheckFailed(
            f"too far: at most {tolerance.probability:g} and {100 * tolerance.mask:g} % are "
            "allowed; nothing is kept"
        )


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
