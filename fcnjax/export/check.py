"""Whether an exported model says what the workdir's says, each in its own runtime."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np

from fcnjax.errors import UserError
from fcnjax.export.environment import run_script
from fcnjax.export.formats import Format
from fcnjax.export.program import Source
from fcnjax.inference import make_model
from fcnjax.io.numpy_files import read_arrays

# Batch, height and width of the images where sizes are free: odd, and less than the deepest stride.
FREE = ((1, 64, 96), (2, 97, 65), (3, 130, 161), (1, 7, 5))


@dataclass(frozen=True)
class Bound:
    """How far an exported model may be from the workdir's.

    Attributes:
        probability: Greatest difference of a probability.
        labels: Greatest share of pixels whose label differs.
    """

    probability: float
    labels: float


# By the type of computation; the workdir computes in float32 beside it.
BOUNDS = MappingProxyType(
    {
        "float32": Bound(1e-3, 1e-3),
        "bfloat16": Bound(0.1, 0.02),
        "int8": Bound(0.25, 0.05),
    }
)


@dataclass(frozen=True)
class Difference:
    """What was found for the images of a size.

    Attributes:
        batch, height, width: Of the images.
        probability: Greatest difference of a probability.
        labels: Share of pixels whose label differs.
    """

    batch: int
    height: int
    width: int
    probability: float
    labels: float

    def within(self, bound: Bound) -> bool:
        """Whether it is small enough; nan is not."""
        return self.probability <= bound.probability and self.labels <= bound.labels

    def __str__(self) -> str:
        return (
            f"{self.batch} x {self.height}x{self.width}: probabilities differ by at most "
            f"{self.probability:.1e}, labels of {100 * self.labels:.3f} % of the pixels"
        )


def differences(source: Source, name: str, form: Format, folder: Path) -> Iterator[Difference]:
    """Runs an exported model in a fresh process, and compares it with the workdir's.

    Args:
        source: The model; its variables compute in float32 beside it.
        name: The format of what was exported.
        form: Its row of the table.
        folder: Where it is.

    Raises:
        UserError: The runtime refuses the file; holds its last line.
    """
    config = source.config.copy_and_resolve_references()
    images = {
        f"{i}": made_images(np.random.default_rng(i), *shape, source.channels, source.input_dtype)
        for i, shape in enumerate(_shapes(source, form))
    }
    found = _run(name, folder, images, form.python())
    config.eval.bucket = 1  # the bare image
    model = make_model(config, source.model, source.variables, source.step)
    for key, batch in images.items():
        mask, probabilities = found[f"{key}/mask"], found[f"{key}/probabilities"]
        wanted = [model(image) for image in batch]
        wanted_mask = np.stack([one.mask for one in wanted])
        apart = np.abs(probabilities - np.stack([one.probabilities for one in wanted])).max()
        if mask.shape != wanted_mask.shape:
            raise UserError(f"{name}: gives a mask {mask.shape}, not {wanted_mask.shape}")
        yield Difference(*batch.shape[:3], float(apart), float(np.mean(mask != wanted_mask)))


def _shapes(source: Source, form: Format) -> Sequence[tuple[int, int, int]]:
    return [(1, *size) for size in source.sizes] if form.sized else FREE


def made_images(
    rng: np.random.Generator, batch: int, height: int, width: int, channels: int, dtype: str
) -> np.ndarray:
    """Blurred noise with edges in it, `[B, H, W, C]`: more like a picture than noise alone."""
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


def _run(
    format_name: str, folder: Path, images: dict[str, np.ndarray], python: str | Path
) -> dict[str, np.ndarray]:
    script = Path(__file__).with_name("run_file.py")
    with tempfile.TemporaryDirectory() as temporary:
        inputs, outputs = (Path(temporary) / name for name in ("in.npz", "out.npz"))
        np.savez(inputs, **images)
        # -P: the modules beside the script are not packages of those names.
        command = [python, "-P", script, format_name, folder, inputs, outputs]
        run_script(command, f"--format: {format_name}'s own runtime refuses the file")
        return read_arrays(outputs)
