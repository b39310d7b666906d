"""Made pictures for tests: discs and bars on noise, easy to learn, with odd sizes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# The tests need no accelerator, even on a machine that has one.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile much and compute little: a third of the time without XLA's costly passes.
QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK_COMPILATION}".strip()

REPOSITORY = Path(__file__).parent.parent


def draw_example(rng, height, width):
    """An image `[H, W, 3]` uint8 and its mask `[H, W]`: 0 ground, 1 disc, 2 bar."""
    ys, xs = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    y, x = rng.uniform(0.2, 0.8) * height, rng.uniform(0.2, 0.8) * width
    mask[(ys - y) ** 2 + (xs - x) ** 2 < (0.25 * min(height, width)) ** 2] = 1
    bar = int(rng.uniform(0.1, 0.9) * width)
    mask[:, bar : bar + max(3, width // 8)] = 2
    colours = np.asarray([[90, 90, 90], [200, 80, 60], [60, 120, 210]])
    image = colours[mask] + rng.normal(0, 12, (height, width, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def write_folder(root, count=10, size=(45, 53), values=(0, 1, 2)):
    """Writes `images/*.jpg` and `masks/*.png`, the masks' classes stored as `values`."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        height, width = size[0] + i % 3, size[1] - i % 2
        image, mask = draw_example(rng, height, width)
        Image.fromarray(image).save(root / "images" / f"picture{i:02}.jpg", quality=95)
        stored = np.asarray(values, np.uint8)[mask]
        Image.fromarray(stored).save(root / "masks" / f"picture{i:02}.png")
    return root


@pytest.fixture(scope="session")
def make_folder():
    """`write_folder`, for tests that want pictures of their own."""
    return write_folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder of ten pictures of three classes."""
    return write_folder(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="session")
def tiny_options():
    """Overrides that make `configs/folder.py` small and quick."""
    return [
        "--config.model.widths=8,16,24",
        "--config.augment.crop=32,32",
        "--config.data.loading.workers=0",
        "--config.train.batch_size=8",
        "--config.train.log_every=5",
        "--config.train.tensorboard=false",
        "--config.optim.warmup_steps=5",
        "--config.optim.lr=5e-3",
        "--config.eval.every=0",
        "--config.eval.bucket=16",
    ]


@pytest.fixture(scope="session")
def make_run():
    """`make_run(folder, config)`: a workdir with made weights, at steps 10 (the better) and 20."""

    def write(folder, config):
        # Not at the top: JAX reads the variables above as it is imported.
        import jax

        from fcnjax.models import build_model
        from fcnjax.optim import make_optimizer
        from fcnjax.training.checkpoint import Checkpoints
        from fcnjax.training.state import init_state, init_variables
        from fcnjax.training.workdir import save_config

        save_config(folder, config)
        model, optimizer = build_model(config), make_optimizer(config)
        checkpoints = Checkpoints(folder, best_metric=config.eval.best_metric)
        draw = jax.jit(lambda: init_state(init_variables(model, config), optimizer, config))
        for step in (10, 20):
            factor = step / 10  # so that the two differ
            state = jax.tree.map(lambda leaf, by=factor: (by * leaf).astype(leaf.dtype), draw())
            state = state.replace(step=np.int32(step))
            checkpoints.save(state, {"batches": step}, {"mean_iou": 1 / step})
        checkpoints.close()
        return folder

    return write
