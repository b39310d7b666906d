"""`fcnjax plan`: ahead-of-time planning of training on absent devices."""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Sequence

from ml_collections import ConfigDict

from fcnjax.cli.parsers import make_parser
from fcnjax.config import load_command_config, open_keys
from fcnjax.errors import UserError
from fcnjax.inspection.planning.topology import (
    CHIPS,
    EXAMPLES,
    GIB,
    UTILISATION,
    Topology,
    environment,
    parse_topology,
)
from fcnjax.inspection.summaries.text import size

_TABLE = "v5e:1x1,v5e:2x2,v5e:2x4,v5e:4x4,v5e:8x8,v5e:16x16,"
_TABLE += "v5p:2x2x1,v5p:2x2x2,v5p:2x4x4,v5p:4x4x4,v5p:4x4x8,v5p:4x8x8"
_ABOUT = """\
Compile the training step of a config ahead of time, for TPUs or CPU devices that need not be
present, and print what it needs on each: memory by part, operations, bytes of the collectives, and
the largest batch that fits. Nothing is trained and no data is read. TPUs need only the compiler:
pip install 'fcnjax[tpu]'. Results are kept in the cache folder."""
_EXAMPLES = """
fcnjax plan --config=configs/driving_cityscapes.py --topology=v5e:4x4
fcnjax plan --config=driving_cityscapes --topology=v5p:2x2x1 --batch=64 --config.mesh.fsdp=4
fcnjax plan --config=driving_cityscapes --table"""


def main(argv: list[str]) -> int:
    """Run `fcnjax plan`."""
    parser = _parser()
    args, overrides = parser.parse_known_args(argv)
    topologies = _check(args)
    env = environment(topologies)
    if any(os.environ.get(name) != value for name, value in env.items()):
        # JAX reads them when it starts, and here it may have started for other devices.
        command = [sys.executable, "-m", "fcnjax", "plan", *argv]
        return subprocess.run(command, env=env, check=False).returncode

    from fcnjax.inspection.planning import text
    from fcnjax.inspection.planning.compile_plan import check_plannable

    config = load_command_config(args.config, overrides, "fcnjax plan")
    check_plannable(config)
    if open_keys(config):
        print("note: training plans what the config leaves open, unless config.plan.minutes is 0")
    print(text.describe_config(config, count_parameters(config)), flush=True)
    if args.table:
        print_table(config, topologies, args)
    else:
        print_plan(config, topologies[0], args)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = make_parser("plan", _ABOUT, _EXAMPLES)
    add = parser.add_argument
    help_of = "a config file or the name of one; --config.section.key=value changes a key of it"
    add("--config", required=True, metavar="FILE[:ARG]", help=help_of)
    add("--topology", metavar="NAME", help=f"devices, such as {EXAMPLES}; several with --table")
    add(
        "--batch",
        type=int,
        metavar="N",
        help="images of a step on all devices; no search",
    )
    help_of = "memory of a device, instead of that of the chip; unknown for a CPU"
    add("--memory", type=float, metavar="GIB", help=help_of)
    add("--table", action="store_true", help="compare v5e of 1 to 256 chips and v5p of 4 to 256")
    help_of = f"--table: assumed share of the peak speed ({UTILISATION:g})"
    add("--utilisation", type=float, default=UTILISATION, metavar="SHARE", help=help_of)
    return parser


def _check(args: argparse.Namespace) -> list[Topology]:
    """Return the topologies of the options; raise UserError if they contradict each other."""
    if args.topology is None and not args.table:
        raise UserError(f"--topology: is missing; valid: such as {EXAMPLES}, or --table")
    topologies = [parse_topology(name) for name in (args.topology or _TABLE).split(",")]
    if len(topologies) > 1 and not args.table:
        raise UserError("--topology: names several; --table compares them")
    if args.table and args.batch is not None:
        raise UserError("--batch: is one batch, but --table searches for the largest of each row")
    if args.memory is not None and not 0 < args.memory < math.inf:
        raise UserError(f"--memory: {args.memory:g} is not above 0 (GiB)")
    if not 0 < args.utilisation <= 1:
        raise UserError(f"--utilisation: {args.utilisation:g} is not above 0 and at most 1")
    if args.table and (cpus := [t for t in topologies if t.chip is None]):
        raise UserError(f"--table: {cpus[0]} has no published speeds; valid: {', '.join(CHIPS)}")
    return topologies


def count_parameters(config: ConfigDict) -> int:
    """Count the parameters of the config's model."""
    import jax

    from fcnjax.models import build_model
    from fcnjax.training.state import init_variables

    shapes = jax.eval_shape(lambda: init_variables(build_model(config), config))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def device_memory(topology: Topology, args: argparse.Namespace) -> int | None:
    """Return the bytes of a device, from `--memory` or the chip; None if unknown."""
    if args.memory is not None:
        return int(args.memory * GIB)
    return topology.chip.memory if topology.chip else None


def print_plan(config: ConfigDict, topology: Topology, args: argparse.Namespace) -> None:
    """Print the footprint of a step on one topology, with `--batch` or the largest batch.

    Raises:
        UserError: `--batch` cannot be divided over the devices, or the compiler refuses it.
    """
    from fcnjax.inspection.planning import text
    from fcnjax.inspection.planning.compile_plan import Planner
    from fcnjax.inspection.planning.search import largest_batch
    from fcnjax.parallel.mesh import check_batch_size

    planner, memory = Planner(config, topology), device_memory(topology, args)
    devices = planner.mesh.size
    print(text.describe_devices(planner, memory), end="\n\n", flush=True)
    if args.batch is None and memory is not None:
        result = largest_batch(planner.footprint, planner.smallest_batch, memory)
        print(text.describe_largest(result, devices, memory), end="\n\n")
        footprint = result.fits
    else:
        key, batch = "--batch", args.batch
        if batch is None:
            key, batch = "config.train.batch_size", config.train.batch_size
        check_batch_size(batch, planner.mesh, key)
        footprint = planner.footprint(batch)
        if footprint.refused is not None:
            raise UserError(
                f"{key}: the compiler refuses {footprint.batch} images for memory"
                + (f"; they need {size(footprint.total)} a device" if footprint.total else "")
            )
        if memory is None:
            print("The memory of a device is unknown: --memory=GIB finds the largest batch.\n")
        elif not footprint.fits(memory):
            print(f"It does not fit: {size(footprint.total)} of {size(memory)}.\n")
    if footprint is not None:
        print(text.describe_footprint(footprint, devices, memory))


def print_table(
    config: ConfigDict, topologies: Sequence[Topology], args: argparse.Namespace
) -> None:
    """Print a row for each topology as soon as it is computed, and the assumptions."""
    from fcnjax.inspection.planning import text
    from fcnjax.inspection.planning.compile_plan import Planner
    from fcnjax.inspection.planning.search import largest_batch

    print(f"\n{text.table_header()}", flush=True)
    hint, hint_memory = 1, None
    for topology in topologies:
        planner, memory = Planner(config, topology), device_memory(topology, args)
        step = planner.smallest_batch
        # The images per chip hardly depend on the number of chips, and grow with their memory.
        hint = hint * memory // hint_memory if hint_memory else hint
        result = largest_batch(planner.footprint, step, memory, hint)
        if result.fits is not None:
            hint, hint_memory = result.fits.batch // step, memory
        print(text.table_row(topology, result, args.utilisation), flush=True)
    print(f"\n{text.assumptions(args.utilisation)}")
    for kind in dict.fromkeys(topology.kind for topology in topologies):
        chip = CHIPS[kind]
        print(
            f"{kind}: {chip.operations / 1e12:g} TFLOP/s, {size(chip.memory)}, "
            f"{chip.ports} links of {chip.link / 1e9:g} GB/s each way ({chip.source})"
        )
