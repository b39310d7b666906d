"""`fcnjax plan`: what a config's training needs of devices that need not be there."""

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from fcnjax.config import load_command_config
from fcnjax.errors import UserError
from fcnjax.inspection.planning import text
from fcnjax.inspection.planning.compile_plan import Planner, check_plannable
from fcnjax.inspection.planning.scaling import UTILISATION, assumptions
from fcnjax.inspection.planning.search import largest_batch
from fcnjax.inspection.planning.topology import (
    CHIPS,
    EXAMPLES,
    GIB,
    Topology,
    environment,
    parse_topology,
)
from fcnjax.inspection.summaries.text import size
from fcnjax.models import build_model
from fcnjax.parallel.mesh import check_batch_size
from fcnjax.training.state import init_variables

_TABLE = "v5e:1x1,v5e:2x2,v5e:2x4,v5e:4x4,v5e:8x8,v5e:16x16,"
_TABLE += "v5p:2x2x1,v5p:2x2x2,v5p:2x4x4,v5p:4x4x4,v5p:4x4x8,v5p:4x8x8"
_ABOUT = """\
Compiles the training step of a config ahead of time, for TPUs or CPU devices that need not be
there, and says what it takes of each: memory by part, operations, bytes of the collectives, and
the largest batch that fits. Nothing is trained and no data is read. TPUs need the compiler alone:
pip install 'fcnjax[tpu]'. What was compiled once is kept in the cache folder."""
_EXAMPLES = """\
examples:
  fcnjax plan --config=configs/driving_cityscapes.py --topology=v5e:4x4
  fcnjax plan --config=driving_cityscapes --topology=v5p:2x2x1 --batch=64 --config.mesh.fsdp=4
  fcnjax plan --config=driving_cityscapes --table"""


def main(argv: list[str]) -> int:
    """`fcnjax plan`."""
    parser = _parser()
    args, overrides = parser.parse_known_args(argv)
    topologies = _check(args)
    env = environment(topologies)
    if any(os.environ.get(name) != value for name, value in env.items()):
        # JAX reads them as it starts, and it may have started here for other devices.
        command = [sys.executable, "-m", "fcnjax.cli", "plan", *argv]
        return subprocess.run(command, env=env, check=False).returncode
    config = load_command_config(args.config, overrides, "fcnjax plan")
    check_plannable(config)
    print(text.header(config, count_parameters(config)), flush=True)
    if args.table:
        print_table(config, topologies, args)
    else:
        print_plan(config, topologies[0], args)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fcnjax plan",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    help_of = "a config file or the name of one; --config.section.key=value changes a key of it"
    add("--config", required=True, metavar="FILE[:ARG]", help=help_of)
    add("--topology", metavar="NAME", help=f"devices, such as {EXAMPLES}; several with --table")
    add("--batch", type=int, metavar="N", help="images of a step over all devices; no search")
    help_of = "of a device, in place of the chip's own; of a CPU there is none"
    add("--memory", type=float, metavar="GIB", help=help_of)
    add("--table", action="store_true", help="over v5e of 1 to 256 chips and v5p of 4 to 256")
    help_of = f"--table: part of the peak that is assumed ({UTILISATION:g})"
    add("--utilisation", type=float, default=UTILISATION, metavar="PART", help=help_of)
    return parser


def _check(args: argparse.Namespace) -> list[Topology]:
    """The topologies that the options name; raises UserError where they contradict each other."""
    if args.topology is None and not args.table:
        raise UserError(f"--topology: is missing; valid: such as {EXAMPLES}, or --table")
    topologies = [parse_topology(name) for name in (args.topology or _TABLE).split(",")]
    if len(topologies) > 1 and not args.table:
        raise UserError("--topology: names several; --table compares them")
    if args.table and args.batch is not None:
        raise UserError("--batch: is one batch, and --table searches for the largest of each row")
    if args.memory is not None and not 0 < args.memory < math.inf:
        raise UserError(f"--memory: {args.memory:g} is not above 0 (GiB)")
    if not 0 < args.utilisation <= 1:
        raise UserError(f"--utilisation: {args.utilisation:g} is not above 0 and at most 1")
    if args.table and (cpus := [t for t in topologies if t.chip is None]):
        raise UserError(f"--table: {cpus[0]} has no published speeds; valid: {', '.join(CHIPS)}")
    return topologies


def count_parameters(config: ConfigDict) -> int:
    """How many parameters the config's model has."""
    shapes = jax.eval_shape(lambda: init_variables(build_model(config), config))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


def memory_of(topology: Topology, args: argparse.Namespace) -> int | None:
    """Bytes of a device: what `--memory` says, else the chip's; None where neither does."""
    if args.memory is not None:
        return int(args.memory * GIB)
    return topology.chip.memory if topology.chip else None


def print_plan(config: ConfigDict, topology: Topology, args: argparse.Namespace) -> None:
    """Prints what a step takes on one topology, of `--batch` or of the largest batch.

    Raises:
        UserError: `--batch` does not divide, or the compiler refuses it.
    """
    planner, memory = Planner(config, topology), memory_of(topology, args)
    devices = planner.mesh.size
    print(text.target(planner, memory), end="\n\n", flush=True)
    if args.batch is None and memory is not None:
        result = largest_batch(planner.footprint, planner.least, memory)
        print(text.largest(result, devices, memory), end="\n\n")
        shown = result.fits
    else:
        key, batch = "--batch", args.batch
        if batch is None:
            key, batch = "config.train.batch_size", config.train.batch_size
        check_batch_size(batch, planner.mesh, key)
        shown = planner.footprint(batch)
        if shown.refused is not None:
            raise UserError(
                f"{key}: the compiler refuses {shown.batch} images for memory"
                + (f"; they need {size(shown.total)} a device" if shown.total else "")
            )
        if memory is None:
            print("No memory of a device is known: --memory=GIB finds the largest batch.\n")
        elif not shown.fits(memory):
            print(f"It does not fit: {size(shown.total)} of {size(memory)}.\n")
    if shown is not None:
        print(text.found(shown, devices, memory))


def print_table(
    config: ConfigDict, topologies: Sequence[Topology], args: argparse.Namespace
) -> None:
    """Prints a row for each topology as soon as it is known, and what the figures rest on."""
    print(f"\n{text.table_head()}", flush=True)
    hint, held = 1, None
    for topology in topologies:
        planner, memory = Planner(config, topology), memory_of(topology, args)
        step = planner.least
        # Chips hold about as many images each, however many they are; larger ones the more.
        hint = hint * memory // held if held else hint
        result = largest_batch(planner.footprint, step, memory, hint)
        if result.fits is not None:
            hint, held = result.fits.batch // step, memory
        print(text.table_row(topology, result, args.utilisation), flush=True)
    print(f"\n{assumptions(args.utilisation)}")
    for kind in dict.fromkeys(topology.kind for topology in topologies):
        chip = CHIPS[kind]
        print(
            f"{kind}: {chip.operations / 1e12:g} TFLOP/s, {size(chip.memory)}, "
            f"{chip.ports} links of {chip.link / 1e9:g} GB/s each way ({chip.source})"
        )
