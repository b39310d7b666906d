"""`fcnjax models parity`: compare our models with reference outputs of torch models."""

from fcnjax.cli.parsers import make_parser
from fcnjax.errors import UserError

_FORMAT = """\
FILE is a JSON list. An entry has `name` (torchvision/MODEL, timm/MODEL or
smp/ARCHITECTURE/ENCODER), `input` (its shape, NCHW), `input_seed`, `salt` (of the weights'
seeds), `params` and `outputs`, each with `shape`, `std`, `flat_index` and `value`; and
`options`, keys of config.model, if the model is not the library's default. NumPy draws the
weights with seeds from the names of their tensors. benchmarks/reference_outputs.py
prints such files."""


def main(argv: list[str]) -> int:
    """Run `fcnjax models parity`."""
    parser = make_parser(
        "models parity",
        "Compare our models with reference outputs of torch models. Exits with 1 if one differs, "
        f"or is unknown. {_FORMAT}",
        "fcnjax models parity tests/models/goldens/torch.json\n"
        "fcnjax models parity outputs.json --only=smp/",
    )
    parser.add_argument("file", metavar="FILE", help="reference outputs, as JSON")
    parser.add_argument("--only", metavar="TEXT", default="", help="entries whose name has TEXT")
    args = parser.parse_args(argv)

    import jax

    from fcnjax.inspection.parity import TOLERANCE, compare, read_entries

    entries = [entry for entry in read_entries(args.file) if args.only in entry["name"]]
    if not entries:
        raise UserError(f"{args.file}: no entry has {args.only!r} in its name")
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
    return 1 if failed else 0
