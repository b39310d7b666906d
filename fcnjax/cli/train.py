"""`fcnjax train`: train a model or resume a stopped run."""

import os
import sys

from fcnjax.cli.parsers import add_host_arguments, make_parser
from fcnjax.errors import UserError


def main(argv: list[str]) -> int:
    """Run `fcnjax train`."""
    parser = make_parser(
        "train",
        "Train a model, or resume a stopped run. "
        "--config.SECTION.KEY=VALUE changes a key of the config.",
        "fcnjax train --config=folder:root=DIR --workdir=runs/mine --config.optim.lr=3e-3",
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE[:ARG]",
        help="a config file, or the name of one that ships with fcnjax",
    )
    parser.add_argument(
        "--workdir",
        required=True,
        metavar="DIR",
        help="folder of the checkpoints, metrics and report",
    )
    add_host_arguments(parser)
    args, overrides = parser.parse_known_args(argv)
    for word in overrides:
        if not word.startswith("--config."):
            raise UserError(f"fcnjax train: unknown argument {word!r}; see fcnjax train --help")
    from fcnjax.config import load_config

    config = load_config(args.config, overrides)
    if config.train.deterministic:
        # JAX reads this when its backend starts, which happens later.
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()

    from fcnjax.parallel.processes import (
        check_same_command,
        distributed_context,
        find_process_info,
    )
    from fcnjax.runtime.host_devices import use_host_devices
    from fcnjax.training.loop import TrainingStopped, train

    if find_process_info(args, os.environ) is None:
        use_host_devices(config.train.batch_size)
    stopped = None
    with distributed_context(args):
        try:
            check_same_command(config, args.workdir)
            train(config, args.workdir)
        except TrainingStopped as error:
            stopped = error
    if stopped is None:
        return 0
    print(f"fcnjax: {stopped}", file=sys.stderr)
    return stopped.code
