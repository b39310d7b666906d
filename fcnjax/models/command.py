"""`fcnjax models`: which models there are, and how large."""

import argparse

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from fcnjax.config import load_config
from fcnjax.models import DECODERS, ENCODERS, Segmenter, build_model
from fcnjax.models.layers import FeatureMap

_EXAMPLES = """\
examples:
  fcnjax models
  fcnjax models --config=folder:encoder=resnet34 --config.model.skip=add
"""


def main(argv: list[str]) -> int:
    """`fcnjax models`."""
    parser = argparse.ArgumentParser(
        prog="fcnjax models",
        description="Lists the encoders and decoders, or describes the model of a config.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="SPEC",
        help="describe this config's model; --config.section.key=value changes a key",
    )
    args, rest = parser.parse_known_args(argv)
    overrides = [word for word in rest if word.startswith("--config.")]
    if strangers := [word for word in rest if word not in overrides]:
        parser.error(f"unrecognized arguments: {' '.join(strangers)}")
    if overrides and args.config is None:
        parser.error(f"{overrides[0]} changes a config, and --config=SPEC is missing")
    print(_listing() if args.config is None else _description(load_config(args.config, overrides)))
    return 0


def count_parameters(module, *args, **kwargs) -> int:
    """How many parameters `module` has for these inputs, computing nothing."""
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), *args, **kwargs))
    return sum(leaf.size for leaf in jax.tree.leaves(variables.get("params", {})))


def _listing() -> str:
    image = FeatureMap(jnp.zeros((1, 64, 64, 3)))
    encoders = [("encoder", "strides", "channels", "parameters", "options", "")]
    for name, entry in ENCODERS.items():
        encoder = entry.make()
        encoders.append(
            (
                name,
                " ".join(map(str, encoder.strides)),
                " ".join(map(str, encoder.channels)),
                _millions(count_parameters(encoder, image, False)),
                ", ".join(entry.options) or "-",
                entry.summary,
            )
        )
    decoders = [("decoder", "options", "")]
    decoders += [(name, ", ".join(row.options), row.summary) for name, row in DECODERS.items()]
    return (
        f"{_table(encoders)}\n\n{_table(decoders)}\n\n"
        "Options are keys of config.model. Parameters are of the encoder, with its default options "
        "and RGB images;\n`fcnjax models --config=SPEC` counts a whole model."
    )


def _description(config: ConfigDict) -> str:
    note = ""
    if not config.data.class_names:
        config.data.class_names = ("background", "foreground")
        note = "; 2 classes assumed, as config.data.class_names is empty"
    model: Segmenter = build_model(config)
    image = jnp.zeros((1, 64, 64, model.in_channels))
    encoder, decoder = model.encoder, model.decoder
    return _table(
        [
            ("model", f"{config.model.decoder} over {config.model.encoder}"),
            ("parameters", _millions(count_parameters(model, image))),
            ("image", f"{model.in_channels} channels ({config.data.channels})"),
            ("logits", f"{model.outputs} a pixel ({config.model.head}{note})"),
            ("encoder strides", " ".join(map(str, encoder.strides))),
            ("encoder channels", " ".join(map(str, encoder.channels))),
            ("decoder stride", f"{decoder.stride}{', resized to 1' * (decoder.stride > 1)}"),
        ]
    )


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
