"""`fcnjax data plan`: choose a config for a dataset, these devices and a time."""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.cli.data.arguments import dataset_parser
from fcnjax.config import PLANNED, default_config, flatten, leave_open, load_command_config
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import atomic

MINUTES = 10.0  # for configs that state no time


def main(argv: list[str]) -> int:
    """Run `fcnjax data plan`.

    Raises:
        UserError: There is no such config or folder, the data cannot be used, or the file exists.
    """
    parser = dataset_parser(
        "plan",
        "Choose the keys of a config from the images, the labels, the devices of this machine "
        "(by a few timed steps) and the time for the training, with a reason for each. The config "
        "`folder` does this when it trains. Keys that you or the config set stay as they are.",
        "DIR --minutes=30 --out=mine.py",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help=f"time of the training (that of the config, or {MINUTES:g})",
    )
    parser.add_argument("--out", metavar="FILE.py", help="write the config to this new file")
    args, overrides = parser.parse_known_args(argv)

    from fcnjax.data import resolve
    from fcnjax.planner import apply_plan, config_text, describe_choice
    from fcnjax.runtime.host_devices import use_host_devices

    out = args.out and Path(args.out)
    if out and (out.suffix != ".py" or out.exists()):
        raise UserError(f"--out: {out} exists or does not end in .py; give a new file, as mine.py")
    if args.minutes == 0:
        raise UserError("--minutes: 0 plans nothing; give a number above 0")
    if args.minutes is not None:
        overrides.append(f"--config.plan.minutes={args.minutes}")
    requested = load_command_config(args.dataset, overrides, "fcnjax data plan")
    if not requested.plan.auto:
        leave_open(requested, _default_keys(requested, overrides))
    requested.plan.minutes = requested.plan.minutes or MINUTES
    use_host_devices(requested.train.batch_size)
    config, notes = resolve(requested)
    config, choices = apply_plan(config)
    for line in [*notes, *map(describe_choice, choices)]:
        print(line)
    if out:
        requested.data.root = config.data.root
        with atomic(out) as temporary:
            text = config_text(requested, choices, args.dataset, str(out))
            temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
        print(f"written: {out}; train with: fcnjax train --config={out} --workdir=runs/mine")
    return 0


def _default_keys(config: ConfigDict, overrides: list[str]) -> tuple[str, ...]:
    """Return the keys that neither the config nor the command line sets."""
    words = {word.removeprefix("--config.").partition("=")[0] for word in overrides}
    values, defaults = flatten(config), flatten(default_config())
    return tuple(key for key in PLANNED if key not in words and values[key] == defaults[key])
