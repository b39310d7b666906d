"""`fcnjax data build`: decode a dataset once."""

from fcnjax.cli.data.arguments import dataset_parser, load_resolved
from fcnjax.runtime.packages import to_stderr


def main(argv: list[str]) -> int:
    """Run `fcnjax data build`.

    Raises:
        UserError: There is no such config or folder, or an example cannot be read.
    """
    parser = dataset_parser(
        "build",
        "Decode every example of a dataset once, into ArrayRecord files in the cache folder; a run "
        "with --config.data.loading.cache=disk reads those. An interrupted build continues.",
        "driving_cityscapes --config.data.root=/data/cityscapes",
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare existing files with their hashes"
    )
    args, overrides = parser.parse_known_args(argv)

    from fcnjax.data import open_stored
    from fcnjax.data.layout import PARTS
    from fcnjax.data.loading.cache import build_cache, cache_folder
    from fcnjax.data.loading.skipping import skips_unreadable
    from fcnjax.data.pixel_type import convert_source

    config = load_resolved(args.dataset, overrides, "build")
    for part in PARTS:
        source = convert_source(open_stored(config, part), config.data)
        folder = cache_folder(config, part, source)
        skip = skips_unreadable(config.data)
        shards = build_cache(source, folder, verify=args.verify, skip=skip)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{part}: {len(shards)} examples, {size / 1e6:.1f} MB in {folder}")
        for error in shards.failed:
            to_stderr(f"warning: skipped: {error}")
    return 0
