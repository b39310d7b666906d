"""Command line of the model benchmarks, and the loop over the models."""

import argparse
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping

MODELS = {"cpu": "unet_small", "cuda": "fcn_resnet50,deeplabv3_resnet50,unet"}


def parse(parser: argparse.ArgumentParser, forms: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line; defaults depend on the device.

    Args:
        parser: Parser with the specific options of the benchmark.
        forms: Comma-separated modes of torch by device.
    """
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--models", help=f"comma-separated names (GPU: {MODELS['cuda']})")
    parser.add_argument("--size", help="image size as HEIGHTxWIDTH")
    parser.add_argument("--batch", type=int, help="batch size")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"))
    parser.add_argument("--torch", help=f"modes of torch, or none: {forms['cuda']}")
    parser.add_argument("--chunks", type=int, default=6, help="number of timed chunks (6)")
    parser.add_argument("--peak-tflops", type=float, help="peak of the device, for its utilization")
    parser.add_argument("--out", help="write the results to this JSON file")
    args = parser.parse_args()
    if missing := [name for name in ("torch", "torchvision") if not importlib.util.find_spec(name)]:
        parser.error(f"{' and '.join(missing)} cannot be imported; pip install torch torchvision")
    if args.size and not re.fullmatch(r"\d+x\d+", args.size):
        parser.error(f"--size: {args.size!r} is not HEIGHTxWIDTH, such as 512x512")
    cpu = args.device == "cpu"
    if cpu:
        os.environ["JAX_PLATFORMS"] = "cpu"
    # Both libraries share the device, so XLA must not preallocate its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    args.models = (args.models or MODELS[args.device]).split(",")
    args.size = tuple(map(int, (args.size or ("128x128" if cpu else "512x512")).split("x")))
    args.batch = args.batch or (8 if cpu else 16)
    args.dtype = args.dtype or ("float32" if cpu else "bfloat16")
    modes = args.torch or forms[args.device]
    args.torch = [] if modes == "none" else modes.split(",")
    return args


def run(
    args: argparse.Namespace,
    compare: Callable[[str, argparse.Namespace], tuple[str, list[dict]]],
) -> None:
    """Compare each model, print its table and write the results to `--out`."""
    from subjects import MODELS as KNOWN

    if unknown := set(args.models) - set(KNOWN):
        sys.exit(f"--models: unknown {', '.join(sorted(unknown))}; valid: {', '.join(KNOWN)}")
    results = {}
    for name in args.models:
        height, width = args.size
        print(f"{name}, batch {args.batch}, {height}x{width}, {args.dtype}", flush=True)
        text, results[name] = compare(name, args)
        print(f"{text}\n", flush=True)
    if args.out:
        from timing import write_report

        settings = {key: value for key, value in vars(args).items() if key != "out"}
        write_report(args.out, {**settings, **_machine(args.device)}, results)


def _machine(device: str) -> dict[str, str]:
    import jax
    import torch

    kind = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} CPU cores"
    return {"machine": kind, "jax": jax.__version__, "torch_version": torch.__version__}
