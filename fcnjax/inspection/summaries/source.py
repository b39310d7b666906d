"""The model that a command line names: a config with changes, or a workdir's."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.models.pretrained.sources import fetch_hub_model
from fcnjax.training.workdir import load_saved_config


@dataclass(frozen=True)
class Source:
    """What a command line names.

    Attributes:
        config: Of the model; its classes are two where the config leaves them to the data.
        note: Says so, or "".
        workdir: Holds the weights, or None.
        words: What stands beside the config.
    """

    config: ConfigDict
    note: str
    workdir: str | None
    words: tuple[str, ...]


def make_parser(name: str, about: str, examples: str) -> argparse.ArgumentParser:
    """A parser for `fcnjax models NAME` that takes a config."""
    parser = argparse.ArgumentParser(
        prog=f"fcnjax models {name}",
        description=about,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="SPEC",
        help="as CONFIG; --config.section.key=value changes a key of it",
    )
    return parser


def add_workdir(parser: argparse.ArgumentParser) -> None:
    """Lets a parser take a workdir's weights."""
    parser.add_argument(
        "--workdir",
        metavar="DIR",
        help="weights and config of a folder that train or publish made, or of hf://OWNER/REPO",
    )
    parser.add_argument(
        "--step", default="best", metavar="best|latest|N", help="which checkpoint (best)"
    )


def parse(
    parser: argparse.ArgumentParser, argv: Sequence[str], beside: Sequence[str] = ()
) -> tuple[argparse.Namespace, Source]:
    """Reads a command line `[CONFIG] WORD... [OPTION...]`.

    Args:
        parser: From `make_parser`.
        argv: The words of the command line.
        beside: Names of the words that must stand beside the config.

    Raises:
        UserError: No config is named, there is no such one, or a change to it is wrong.
    """
    shown = " ".join(["[CONFIG]", *beside])
    about = "the path of a config or the name of a shipped one, with its :ARG"
    parser.add_argument("words", nargs="*", metavar=shown, help=about)
    parser.usage = f"{parser.prog} {shown} [OPTION...]"
    changes = [word for word in argv if word.startswith("--config.")]
    # Intermixed: otherwise options before CONFIG would hide it.
    args = parser.parse_intermixed_args([word for word in argv if word not in changes])
    words = list(args.words)
    workdir = getattr(args, "workdir", None)
    spec = args.config
    if len(words) > len(beside):
        if spec is not None:
            parser.error(f"{words[0]}: the config is named twice; --config={spec}")
        spec = words.pop(0)
    if len(words) > len(beside):
        parser.error(f"unrecognized arguments: {' '.join(words[len(beside) :])}")
    if len(words) < len(beside):
        parser.error(f"{beside[len(words)]} is missing")
    config, note = _config(parser.prog, spec, changes, workdir)
    return args, Source(config, note, workdir, tuple(words))


def _config(
    command: str, spec: str | None, changes: Sequence[str], workdir: str | None
) -> tuple[ConfigDict, str]:
    if spec is None and workdir is None:
        raise UserError(f"{command}: names no model; give CONFIG, such as `{command} folder`")
    saved = None if workdir is None else load_saved_config(_folder(workdir))
    if spec is None:
        if changes:
            raise UserError(f"{changes[0]}: changes a config, and the one of {workdir} is fixed")
        return saved, ""
    config = load_config(spec, changes)
    if saved is not None:
        for key, value in saved.model.items():
            if key != "init_from" and config.model[key] != value:
                raise UserError(
                    f"--workdir: {workdir} was trained with config.model.{key} = {value!r}, and "
                    f"{spec} has {config.model[key]!r}; leave CONFIG out to take the workdir's"
                )
        return saved, ""
    if config.data.class_names:
        return config, ""
    config.data.class_names = ("background", "foreground")
    return config, "2 classes assumed, as config.data.class_names is empty"


def _folder(workdir: str) -> str | Path:
    return fetch_hub_model(workdir) if workdir.startswith("hf://") else workdir


def parse_size(text: str) -> tuple[int, int]:
    """The height and width that `--size` names: `512x640`, or `512` for a square.

    Raises:
        UserError: It names none.
    """
    sides = text.split("x")
    if not all(side.isdigit() and int(side) > 0 for side in sides) or len(sides) > 2:
        raise UserError(f"--size: {text!r} is not a height and width such as 512x640")
    return int(sides[0]), int(sides[-1])
