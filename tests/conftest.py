"""Settings and fixtures of all tests: JAX's environment, small data sets and saved runs."""

import gc
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from xla_flags import fast_compile_flags

REPOSITORY = Path(__file__).parent.parent
# Compiled programs and Python's bytecode are shared by workers, files, subprocesses and later runs.
COMPILED = REPOSITORY / ".pytest_cache" / "compiled_programs"
BYTECODE = REPOSITORY / ".pytest_cache" / "bytecode"
COMPILED_BYTES = 2 * 2**30  # the most that is kept for the next run
# Single tests of these files take up to a minute or two. They start first, so that no worker waits
# for one at the end.
LONGEST = ("test_eight_devices.py", "test_fuzz.py")


# JAX and XLA read these variables when they are first used. The tests need no accelerator, and the
# lines of code that each operation comes from, which nobody reads here, take a tenth of tracing.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(COMPILED))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
flags = os.environ.get("XLA_FLAGS", "").split()
if os.environ["JAX_PLATFORMS"] == "cpu":  # programs of a GPU are tested as users compile them
    flags += [flag for flag in fast_compile_flags() if flag not in flags]
# Workers and subprocesses inherit them.
os.environ["XLA_FLAGS"] = " ".join(flags)
# Without bytecode, each process compiles 1,500 modules for two seconds.
os.environ |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(BYTECODE)}
sys.dont_write_bytecode, sys.pycache_prefix = False, str(BYTECODE)
# Tracing makes many objects that live on: fewer collections save a tenth of its time.
gc.set_threshold(200_000, 20, 100)


def pytest_sessionstart(session):
    """Remove the oldest compiled programs where they take too much room."""
    if hasattr(session.config, "workerinput"):
        return
    entries = sorted(COMPILED.glob("*-cache"), key=lambda path: path.stat().st_mtime, reverse=True)
    kept = 0
    for entry in entries:
        kept += entry.stat().st_size
        if kept > COMPILED_BYTES:
            entry.unlink(missing_ok=True)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_runtest_setup(item):
    """Skip a test for a GPU if JAX has none, unless FCNJAX_GPU_TESTS=cpu."""
    if item.get_closest_marker("gpu") is None or os.environ.get("FCNJAX_GPU_TESTS") == "cpu":
        return
    import jax

    if jax.default_backend() != "gpu":
        pytest.skip("needs a GPU and JAX_PLATFORMS=cuda; FCNJAX_GPU_TESTS=cpu runs it on the CPU")


def draw_example(rng, height, width):
    """Return an image `[H, W, 3]` uint8 and its mask `[H, W]`: 0 ground, 1 disc, 2 bar.

    A disc and a bar on noise are easy to learn.
    """
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
    """Write `images/*.jpg` and `masks/*.png` of odd sizes, with classes stored as `values`."""
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
    """`write_folder`, for tests that change the pictures."""
    return write_folder


@pytest.fixture(scope="session")
def write_once(request, tmp_path_factory):
    """`write_once(name, write)`: a folder that one xdist worker writes, and all may only read."""
    root = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        root = root.parent

    def get(name, write):
        folder, done = root / "shared" / name, root / "shared" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # the rest of a write that failed
                write(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def shapes(write_once):
    """A folder of ten pictures of three classes."""
    return write_once("shapes", write_folder)


@pytest.fixture(scope="session")
def tiny_options():
    """Overrides that make a run of `configs/folder.py` small and fast."""
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
        "--config.plan.minutes=0",
    ]


@pytest.fixture(scope="session")
def make_run():
    """`make_run(folder, config)`: a workdir with random weights at steps 10 (the best) and 20."""

    def write(folder, config):
        # Imported here, since JAX reads the environment when it is imported.
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
        drawn = jax.device_get(draw())
        for step in (10, 20):
            factor = step / 10  # so that the two differ
            state = jax.tree.map(lambda leaf, by=factor: (by * leaf).astype(leaf.dtype), drawn)
            state = jax.device_put(state)
            state = state.replace(step=np.int32(step))
            checkpoints.save(state, {"batches": step}, {"mean_iou": 1 / step})
        checkpoints.close()
        return folder

    return write


@pytest.fixture(scope="session")
def copy_of_run(shapes, tiny_options, tmp_path_factory, make_run, write_once):
    """`copy_of_run()`: a new copy of a workdir of `shapes`, as `make_run` writes it."""

    def write(folder):
        from fcnjax import data
        from fcnjax.config import load_config

        config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
        make_run(folder, config)

    def copy():
        folder = tmp_path_factory.mktemp("run") / "shapes"
        return shutil.copytree(write_once("run", write), folder)

    return copy


@pytest.fixture
def default_signal_handlers():
    """Set the handlers of a process in a terminal; a background job may ignore signals."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
