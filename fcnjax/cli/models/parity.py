"""`fcnjax models parity`: compare our models with reference outputs of torch models."""

from pathlib import Path

from fcnjax.cli.parsers import make_parser
from fcnjax.errors import UserError

_FORMAT = """\
FILE is a JSON list. An entry has `name` (torchvision/MODEL, timm/MODEL or
smp/ARCHITECTURE/ENCODER), `input` (its shape, NCHW), `input_seed`, `salt` (of the weights'
seeds), `params` and `outputs`, each with `shape`, `std`, `flat_index` and `value`; and
`options`, keys of config.model, if the model is not the library's default. NumPy draws the
weights with seeds from the names of their tensors. benchmarks/reference_outputs.py
prints such files.

FOLDER is a published model in the layout of transformers with `image.png` and
`expected.npz`: `pixel_values`, `logits` and `semantic`, as transformers gives them."""


def main(argv: list[str]) -> int:
    """Run `fcnjax models parity`."""
    parser = make_parser(
        "models parity",
        "Compare our models with reference outputs of torch models. Exits with 1 if one differs, "
        f"or is unknown. {_FORMAT}",
        "fcnjax models parity tests/models/goldens/torch.json\n"
        "fcnjax models parity outputs.json --only=smp/\n"
        "fcnjax models parity segformer/ upernet/",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE|FOLDER", help="reference outputs, or published models"
    )
    parser.add_argument("--only", metavar="TEXT", default="", help="entries whose name has TEXT")
    args = parser.parse_args(argv)
    folders = [path for path in args.files if Path(path).is_dir()]
    failed = _compare_folders(folders) if folders else 0
    return int(
        failed + sum(_compare_file(p, args.only) for p in args.files if p not in folders) > 0
    )


def _compare_folders(folders: list[str]) -> int:
    """Print a line about each published model; return the number of those that differ."""
    import jax

    from fcnjax.inspection.published_parity import compare_published

    failed = 0
    print("errors are of the std of each output; shares of the resized image and of the mask")
    for folder in folders:
        result = compare_published(folder)
        errors = ", ".join(f"{name} {error:.1e}" for name, error in result.errors.items())
        shares = f"image {result.pixels:.2%}, mask {result.mask:.2%}"
        verdict = "equal" if result.is_equal else f"DIFFERS ({result.wrong} clear pixels)"
        print(f"{Path(folder).name:<20} {errors}; {shares}  {verdict}", flush=True)
        failed += not result.is_equal
        jax.clear_caches()
    print(f"{len(folders) - failed} of {len(folders)} equal")
    return failed


def _compare_file(file: str, only: str) -> int:
    """Print a line about each entry of a file; return the number of those that differ."""
    import jax

    from fcnjax.inspection.parity import TOLERANCE, compare, read_entries

    entries = [entry for entry in read_entries(file) if only in entry["name"]]
    if not entries:
        raise UserError(f"{file}: no entry has {only!r} in its name")
    failed = 0
    for entry in entries:
        height, width = entry["input"][-2:]
        label = f"{entry['name']:<44} {height}x{width:<5}"
        try:
            result = compare(entry)
        except UserError as error:
            failed += 1
            print(f"{label} UNKNOWN  {error}", flush=True)
            continue
        failed += bool(result.problem)
        numbers = f"{result.error:8.1e} of std  {result.params:>11,} parameters"
        print(f"{label} {numbers}  {result.problem or 'equal'}", flush=True)
        jax.clear_caches()
    print(f"{len(entries) - failed} of {len(entries)} equal to within {TOLERANCE:g}")
    return failed
