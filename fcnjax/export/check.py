"""Comparison of an exported model, in its own runtime, with the model of the workdir."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from fcnjax.errors import UserError
from fcnjax.export.formats import FormatSpec
from fcnjax.export.program import ExportSource
from fcnjax.inference import make_model
from fcnjax.inference.engines import MASK_TOLERANCE, PROBABILITY_TOLERANCE
from fcnjax.io.numpy_files import read_arrays

# Batch, height and width of test images for formats of any size: odd, and below the deepest stride.
# Sides below the least one of a program are replaced by it.
TEST_SHAPES = ((1, 64, 96), (2, 97, 65), (3, 130, 161), (1, 7, 5))


@dataclass(frozen=True)
class Tolerance:
    """Largest allowed difference between an exported model and that of the workdir.

    Attributes:
        probability: Largest absolute difference of a probability.
        mask: Largest share of pixels whose class differs.
    """

    probability: float
    mask: float


# By computation type. The workdir's model computes in float32.
TOLERANCES = MappingProxyType(
    {
        "float32": Tolerance(PROBABILITY_TOLERANCE, MASK_TOLERANCE),
        "bfloat16": Tolerance(0.1, 0.02),
        "int8": Tolerance(0.25, 0.05),
    }
)


@dataclass(frozen=True)
class Difference:
    """Difference between two models on a batch of images.

    Attributes:
        batch, height, width: Shape of the batch.
        probability: Largest absolute difference of a probability.
        mask: Share of pixels whose class differs.
    """

    batch: int
    height: int
    width: int
    probability: float
    mask: float

    def is_within(self, tolerance: Tolerance) -> bool:
        """Return whether the difference is small enough, which NaN is not."""
        return self.probability <= tolerance.probability and self.mask <= tolerance.mask

    def __str__(self) -> str:
        return (
            f"{self.batch} x {self.height}x{self.width}: probabilities differ by at most "
            f"{self.probability:.1e}, classes in {100 * self.mask:.3f} % of the pixels"
        )


def compare_with_workdir(
    source: ExportSource, name: str, spec: FormatSpec, folder: Path, least_size: int | None = None
) -> Iterator[Difference]:
    """Run an exported model in a new process, and compare it with the model of the workdir.

    Args:
        source: The model, which computes in float32 for the comparison.
        name: Name of the format.
        spec: The format.
        folder: Folder of the exported model.
        least_size: Least height and width of an image, as `FormatSpec.write` returned it.

    Raises:
        UserError: The runtime refuses the file; contains its last line.
    """
    config = source.config.copy_and_resolve_references()
    images = {
        f"{i}": synthetic_images(
            np.random.default_rng(i), *shape, source.channels, source.input_dtype
        )
        for i, shape in enumerate(_test_shapes(source, spec, least_size or 1))
    }
    outputs = _run(name, folder, images)
    config.eval.bucket = 1  # no padding
    model = make_model(config, source.model, source.variables, source.step)
    for key, batch in images.items():
        mask, probabilities = outputs[f"{key}/mask"], outputs[f"{key}/probabilities"]
        expected = [model(image) for image in batch]
        expected_mask = np.stack([prediction.mask for prediction in expected])
        expected_probabilities = np.stack([prediction.probabilities for prediction in expected])
        difference = np.abs(probabilities - expected_probabilities).max()
        if mask.shape != expected_mask.shape:
            raise UserError(f"{name}: gives a mask {mask.shape}, not {expected_mask.shape}")
        differing = float(np.mean(mask != expected_mask))
        yield Difference(*batch.shape[:3], float(difference), differing)


def _test_shapes(
    source: ExportSource, spec: FormatSpec, least_size: int
) -> Sequence[tuple[int, int, int]]:
    if spec.has_fixed_sizes:
        return [(1, *size) for size in source.sizes]
    return [
        (batch, max(height, least_size), max(width, least_size))
        for batch, height, width in TEST_SHAPES
    ]


def synthetic_images(
    rng: np.random.Generator, batch: int, height: int, width: int, channels: int, dtype: str
) -> np.ndarray:
    """Return blurred noise with edges, `[B, H, W, C]`, which resembles photographs more."""
    images = []
    for _ in range(batch):
        coarse = rng.random((height // 8 + 2, width // 8 + 2, channels), np.float32)
        image = cv2.resize(coarse, (width, height)).reshape(height, width, channels)
        image[rng.integers(height) :, rng.integers(width) :] *= 0.5
        images.append(image + 0.1 * rng.random(image.shape, np.float32))
    unit = np.clip(np.stack(images), 0, 1)
    if dtype == "float32":
        return unit
    return (unit * np.iinfo(dtype).max).astype(dtype)


def _run(format_name: str, folder: Path, images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    script = Path(__file__).with_name("run_program.py")
    with tempfile.TemporaryDirectory() as temporary:
        inputs, outputs = (Path(temporary) / name for name in ("in.npz", "out.npz"))
        np.savez(inputs, **images)
        # -P: the modules beside the script must not hide packages of the same names.
        command = [sys.executable, "-P", script, format_name, folder, inputs, outputs]
        run_script(command, f"--format: {format_name}'s own runtime refuses the file")
        return read_arrays(outputs)


def run_script(command: Sequence[str | Path], what: str) -> None:
    """Run a script of this package in a new process.

    Raises:
        UserError: The script failed; contains `what` and its last error without the traceback.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a message"]
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Operation)?: ", line)]
        raise UserError(f"{what}: {(errors or lines)[-1]}")
