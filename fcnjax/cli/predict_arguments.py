"""What the commands that use a trained model are told of it."""

import argparse
from collections.abc import Callable
from typing import TypeVar

from fcnjax.errors import UserError
from fcnjax.inference.load import parse_step
from fcnjax.inference.outputs.names import ENDINGS
from fcnjax.inference.request import Request

T = TypeVar("T")


def add_model_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Adds `--workdir`, `--step` and `--dtype`; `several` workdirs where that is so."""
    what = "a folder that train or publish made, or hf://OWNER/REPO"
    parser.add_argument(
        "--workdir",
        required=True,
        metavar="DIR",
        action="append" if several else "store",
        help=f"{what}; given again: an ensemble" if several else what,
    )
    parser.add_argument(
        "--step", default="best", metavar="best|latest|N", help="which checkpoint (best)"
    )
    parser.add_argument(
        "--dtype",
        metavar="float32|bfloat16",
        help="of the computation (as it was trained); on GPUs and TPUs bfloat16 is faster",
    )


def add_request_arguments(parser: argparse.ArgumentParser, *, outputs: str | None = None) -> None:
    """Adds what `request_of` reads; `--outputs` only where `outputs` does not say what it is."""
    add_model_arguments(parser, several=True)
    if outputs is None:
        parser.add_argument(
            "--outputs",
            default="mask,overlay",
            metavar="LIST",
            help=f"what is written, of {', '.join(ENDINGS)} (mask,overlay)",
        )
    else:
        parser.set_defaults(outputs=outputs)
    averaged = parser.add_argument_group("averaged predictions")
    averaged.add_argument(
        "--tta", default="", metavar="LIST", help="see it turned, too: hflip, vflip, rot90"
    )
    averaged.add_argument(
        "--scales", default="1", metavar="LIST", help="see it scaled: 0.75,1,1.25 (1)"
    )
    averaged.add_argument(
        "--dropout-samples", type=int, default=0, metavar="N", help="draw dropout N times (0: none)"
    )
    mask = parser.add_argument_group("what becomes of the mask")
    mask.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="CLASS:P",
        help="give this class from this probability on; may be given again",
    )
    mask.add_argument(
        "--smallest-region",
        type=int,
        default=0,
        metavar="N",
        help="regions of fewer pixels get the class around them",
    )
    mask.add_argument(
        "--largest-hole",
        type=int,
        default=0,
        metavar="N",
        help="fill holes (of class 0 within another) of at most so many pixels",
    )


def request_of(args: argparse.Namespace) -> Request:
    """What the arguments ask for.

    Raises:
        UserError: One of them is wrong.
    """
    step = parse_step(args.step)
    return Request(
        models=tuple((workdir, step) for workdir in args.workdir),
        dtype=args.dtype,
        outputs=_listed("--outputs", args.outputs, str),
        tta=_listed("--tta", args.tta, str),
        scales=_listed("--scales", args.scales, float),
        dropout_samples=args.dropout_samples,
        thresholds=tuple(args.threshold),
        smallest_region=args.smallest_region,
        largest_hole=args.largest_hole,
    )


def _listed(flag: str, text: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    """The parts of a list that commas divide; none of an empty one."""
    try:
        return tuple(parse(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise UserError(f"{flag}: {text!r} is no list of numbers") from error
