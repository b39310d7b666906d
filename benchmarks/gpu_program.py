"""Shows the kernels that XLA compiles for an H100, on a machine without a GPU.

    pip install "jax[cuda12]"                                  XLA's compiler for GPUs, 5 GB
    python benchmarks/gpu_program.py                           training steps, 16 of 512x512
    python benchmarks/gpu_program.py --infer --batch=1
    python benchmarks/gpu_program.py --models=unet --top=30    list the 30 slowest kernels

Programs are compiled ahead of time; nothing is run or timed. The table counts the kernels, the
bytes that they read and write, and the operations of the convolutions. `floor` is a roofline
estimate: each kernel takes the larger of its compute time and its memory time. `started` adds the
launch overhead. Use it to compare versions of a program without a GPU. XLA cannot autotune here, so
it may choose other kernels than on the device.
"""

import argparse
import importlib.util
import os
import re
from collections import defaultdict

# XLA's description of an H100 SXM5 (openxla/xla, pull request 25919). The rates below were measured
# on one, by a bfloat16 matrix product and a copy.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_core: 233472
  shared_memory_per_block_optin: 232448
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84929347584
  cuda_compute_capability { major: 9 }
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 12 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
OPERATIONS, BYTES = 795e12, 3.0e12  # per second
START = 2e-6  # assumed seconds from one small kernel to the next


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="fcn_resnet50,deeplabv3_resnet50,unet")
    parser.add_argument("--size", default="512x512", help="image size as HEIGHTxWIDTH (512x512)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--infer", action="store_true", help="compile inference, not training")
    parser.add_argument("--top", type=int, default=0, help="number of kernels to list (0)")
    args = parser.parse_args()
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", args.size) or args.batch < 1:
        parser.error("--size: valid: HEIGHTxWIDTH, such as 512x512; --batch: valid: 1 or more")
    args.size = tuple(map(int, args.size.split("x")))
    if not importlib.util.find_spec("jax_cuda12_plugin"):
        parser.error("XLA's compiler for GPUs is missing; pip install 'jax[cuda12]'")
    # The plugin would look for a driver.
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"
    os.environ["JAX_PLATFORMS"] = "cpu"

    from hlo import kernels
    from subjects import MODELS

    if unknown := set(args.models.split(",")) - set(MODELS):
        parser.error(f"--models: unknown {', '.join(sorted(unknown))}; valid: {', '.join(MODELS)}")
    for name in args.models.split(","):
        compiled = compiled_for_h100(name, args)
        what = "masks" if args.infer else "training step"
        print(f"{name}, {what}, batch {args.batch}, {args.size[0]}x{args.size[1]}, bfloat16")
        temporary = compiled.memory_analysis().temp_size_in_bytes
        print(table(kernels(compiled.as_text()), args.top))
        print(f"  temporary memory {temporary / 2**30:.2f} GiB\n", flush=True)


def compiled_for_h100(name: str, args: argparse.Namespace):
    """Compile the step of a model."""
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies
    from subjects import our_config

    from fcnjax.models import build_model, compile_for, make_fold_fn
    from fcnjax.optim import make_optimizer
    from fcnjax.parallel.mesh import batch_sharding, mesh_of, replicated
    from fcnjax.training.state import init_state, init_variables
    from fcnjax.training.step import make_predict_step, make_train_step, mesh_platform

    topology = topologies.get_topology_desc(platform="cuda", target_config=H100, topology="1x1x1")
    mesh = mesh_of(topology.devices, 1)
    config = our_config(name, args.size, args.batch, bfloat16=True)
    model, optimizer = build_model(config), make_optimizer(config)
    variables = jax.eval_shape(lambda: init_variables(model, config))
    whole, sharded = replicated(mesh), batch_sharding(mesh)
    shape = (args.batch, *args.size)
    image = jax.ShapeDtypeStruct((*shape, 3), jnp.uint8)
    if not args.infer:
        state = jax.eval_shape(lambda v: init_state(v, optimizer, config), variables)
        batch = {
            "image": image,
            "label": jax.ShapeDtypeStruct(shape, jnp.uint8),
            "bounds": jax.ShapeDtypeStruct((args.batch, 4), jnp.int32),
            "valid": jax.ShapeDtypeStruct(shape[:1], bool),
        }
        return make_train_step(model, optimizer, config, mesh).lower(state, batch).compile()
    platform, step = mesh_platform(mesh), make_predict_step(model, config)
    variables = jax.eval_shape(make_fold_fn(model, platform), variables)

    @compile_for(platform)
    def mask_of(*given):
        return step(*given)["mask"].astype(jnp.uint8)

    masks = jax.jit(mask_of, in_shardings=(whole, sharded), out_shardings=sharded)
    return masks.lower(variables, image).compile()


def table(found: list, top: int) -> str:
    """Format the totals by kind of kernel, and the slowest kernels."""
    kinds = defaultdict(list)
    for kernel in found:
        kinds[kernel.kind].append(kernel)
    kinds = dict(sorted(kinds.items(), key=lambda item: -sum(map(roofline_seconds, item[1]))))
    lines = [f"  {'':<48}{'kernels':>8}{'GB':>8}{'TFLOP':>8}{'floor ms':>10}{'started ms':>12}"]
    for kind, those in {**kinds, "all": found}.items():
        floor = sum(map(roofline_seconds, those))
        lines.append(
            f"  {kind:<48}{len(those):>8}{sum(k.bytes_moved for k in those) / 1e9:>8.2f}"
            f"{sum(k.operations for k in those) / 1e12:>8.2f}{1e3 * floor:>10.2f}"
            f"{1e3 * (floor + START * len(those)):>12.2f}"
        )
    for kernel in sorted(found, key=roofline_seconds, reverse=True)[:top]:
        lines.append(
            f"  {1e3 * roofline_seconds(kernel):7.3f} ms {kernel.bytes_moved / 1e6:7.0f} MB"
            f"  {kernel.kind:<40}"
            f"{kernel.result[:48]:<50}{kernel.name[-80:]}"
        )
    return "\n".join(lines)


def roofline_seconds(kernel) -> float:
    """Return the least time of a kernel on an H100, in seconds."""
    return kernel.seconds(OPERATIONS, BYTES)


if __name__ == "__main__":
    main()
