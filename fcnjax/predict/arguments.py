"""What the commands that use a trained model are told of it."""

import argparse

from fcnjax.errors import UserError


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--workdir`, `--step` and `--dtype`."""
    parser.add_argument(
        "--workdir",
        required=True,
        metavar="DIR",
        help="a folder that train or publish made, or hf://OWNER/REPO",
    )
    parser.add_argument(
        "--step", default="best", metavar="best|latest|N", help="which checkpoint (best)"
    )
    parser.add_argument(
        "--dtype",
        metavar="float32|bfloat16",
        help="of the computation (as it was trained); on GPUs and TPUs bfloat16 is faster",
    )


def parse_step(text: str) -> str | int:
    """The checkpoint that `--step` names: `best`, `latest` or a number."""
    if text in ("best", "latest"):
        return text
    if not text.isdigit():
        raise UserError(f"--step: {text!r} is not best, latest or a step")
    return int(text)
