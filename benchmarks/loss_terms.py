"""Times each loss with its gradient, and the distance maps that two of the losses need.

python benchmarks/loss_terms.py --batch=8 --size=256 --classes=2
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from fcnjax import losses


def main() -> None:
    """Print the median time of five calls for each loss, in milliseconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in (("batch", 8), ("size", 256), ("classes", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    shape = (args.batch, args.size, args.size)
    smooth = ndimage.gaussian_filter(random.normal(size=shape), (0, 6, 6))
    edges = np.quantile(smooth, np.linspace(0, 1, args.classes + 1)[1:-1])
    labels = jnp.asarray(np.digitize(smooth, edges).astype(np.int32))
    logits = jnp.asarray(random.normal(size=(*shape, args.classes)).astype(np.float32))
    for name, spec in losses.LOSSES.items():

        def loss(z, y, spec=spec):
            options = losses.LossOptions(255, head=spec.head or "softmax")
            return spec.function(z, y, options)

        report(name, jax.value_and_grad(loss), logits, labels)
    report("distance_to", losses.distance_to, labels == 1)
    report("border_map", lambda y: losses.border_map(y, 10.0, 5.0), labels)


def report(name: str, function, *given) -> None:
    """Compile a function and print its time."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*given).compile()
    compilation = time.perf_counter() - start
    times = []
    for _ in range(6):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*given))
        times.append(time.perf_counter() - start)
    middle = 1e3 * np.median(times[1:])
    memory = compiled.memory_analysis().temp_size_in_bytes / 2**20
    print(f"{name:22} {middle:9.1f} ms {memory:8.1f} MiB   compiled in {compilation:.1f} s")


if __name__ == "__main__":
    main()
