"""`fcnjax data build`: decodes a set once."""

import argparse

from fcnjax.config import load_command_config
from fcnjax.data import open_plain, resolve
from fcnjax.data.converted import converted
from fcnjax.data.layout import PARTS
from fcnjax.data.loading.cache import build, folder_of
from fcnjax.data.loading.skipping import skips
from fcnjax.runtime.packages import to_stderr


def main(argv: list[str]) -> int:
    """`fcnjax data build`.

    Raises:
        UserError: No such config or folder, or an example that cannot be read.
    """
    parser = argparse.ArgumentParser(
        prog="fcnjax data build",
        description="Decode every example of a data set once, into ArrayRecord files in the cache "
        "folder; a run with --config.data.loading.cache=disk reads those. Stopped, it goes on "
        "where it was. --config.SECTION.KEY=VALUE changes a key.",
        epilog="example: fcnjax data build driving_cityscapes --config.data.root=/data/cityscapes",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what", metavar="CONFIG|FOLDER", help="as --config of train; a folder is folder:root=FOLDER"
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare the files that are there with their hashes"
    )
    args, overrides = parser.parse_known_args(argv)
    config, notes = resolve(load_command_config(args.what, overrides, "fcnjax data build"))
    for note in notes:
        print(note)
    for part in PARTS:
        source = converted(open_plain(config, part), config.data)
        folder = folder_of(config, part, source)
        shards = build(source, folder, verify=args.verify, skip=skips(config.data))
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(f"{part}: {len(shards)} examples, {size / 1e6:.1f} MB in {folder}")
        for error in shards.failed:
            to_stderr(f"warning: skipped: {error}")
    return 0
