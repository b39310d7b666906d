"""Times convolutions and their gradients on the CPU: those of XLA beside those of fcnjax.

    python benchmarks/convolutions.py
    python benchmarks/convolutions.py 8,128,64,64,3,1 8,64,256,64,1,1

Each argument is: images, side of an image, input channels, output channels, side of the kernel,
stride. Both compute the gradients of the image and of the kernel, in float32, and are timed
alternately.
"""

import sys
import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from fcnjax.models.layers.convolution.gradient import convolve
from fcnjax.models.layers.convolution.implementations import plain_conv

SHAPES = (
    "8,128,3,16,3,1",
    "8,128,16,16,3,1",
    "8,128,64,16,3,1",
    "8,128,16,64,3,1",
    "8,128,32,32,3,1",
    "8,128,64,64,3,1",
    "8,64,64,64,3,1",
    "8,32,256,256,3,1",
    "8,16,128,128,3,1",
    "8,256,3,64,7,2",
    "8,128,16,21,1,1",
    "8,64,64,256,1,1",
    "8,64,256,64,1,1",
    "8,16,512,2048,1,1",
    "8,64,256,512,1,2",
)
ROUNDS = 5


def main() -> None:
    """Print a row for each shape: milliseconds of the convolution and of both gradients."""
    print(f"{'shape':<20}{'convolution':>12}{'gradients, XLA':>16}{'fcnjax':>10}")
    for text in sys.argv[1:] or SHAPES:
        images, side, inputs, outputs, kernel, stride = map(int, text.split(","))
        rng = np.random.default_rng(0)
        data = rng.standard_normal((images, side, side, inputs), np.float32)
        weights = rng.standard_normal((kernel, kernel, inputs, outputs), np.float32)
        options = {"padding": ((kernel // 2,) * 2,) * 2, "stride": stride}
        forward = jax.jit(partial(plain_conv, **options))
        cotangent = rng.standard_normal(forward(data, weights).shape, np.float32)
        contenders = [
            partial(forward, data, weights),
            *(
                partial(
                    jax.jit(partial(gradients, partial(conv, **options))), data, weights, cotangent
                )
                for conv in (plain_conv, convolve)
            ),
        ]
        for plain, ours in zip(contenders[1](), contenders[2](), strict=True):
            assert np.abs(plain - ours).max() <= 1e-4 * np.abs(plain).max()
        times = [[seconds(contender) for contender in contenders] for _ in range(ROUNDS)]
        milliseconds = [f"{1000 * each:.1f}" for each in np.median(times, axis=0)]
        print("{:<20}{:>12}{:>16}{:>10}".format(text, *milliseconds), flush=True)


def gradients(
    conv: Callable[..., jax.Array], data: jax.Array, weights: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of the image and of the kernel."""
    return jax.vjp(conv, data, weights)[1](cotangent)


def seconds(run: Callable[[], jax.Array]) -> float:
    """Return the duration of a call."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
