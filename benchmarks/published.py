"""Compares the speed of published models here and in transformers on torch.

    python benchmarks/published.py --torch-python=VENV/bin/python
    python benchmarks/published.py --torch-python=VENV/bin/python --models=segformer_b0 --batches=1

Both have the same drawn weights, and turn images of 512x512 into masks of the same size: model,
resizing of the logits and argmax, in float32. Transformers runs eagerly and by torch.compile
(published_torch.py). The time of an image is the median over repetitions, after the first calls,
which compile. VENV needs torch and transformers. Run it on a machine that does nothing else.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import jax
import numpy as np
from timing import median_seconds

from fcnjax import load

TORCH = Path(__file__).with_name("published_torch.py")
MODELS = ("segformer_b0", "upernet_convnext_tiny")
SIDE = 512
SECONDS = 10.0  # of repetitions


def main() -> None:
    """Print a table of images per second."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torch-python", required=True, help="Python with torch and transformers")
    parser.add_argument("--models", default=",".join(MODELS), help="models, with commas")
    parser.add_argument("--batches", default="1,8", help="images of a batch, with commas")
    parser.add_argument("--engine", default="xla", help="what computes here: xla, openvino, ...")
    args = parser.parse_args()
    batches = list(map(int, args.batches.split(",")))
    print(f"{'model':<22} {'batch':>5} {'fcnjax':>8} {'eager':>8} {'compile':>8}  fcnjax/compile")
    for name in args.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            run = [args.torch_python, TORCH, name, folder]
            subprocess.run([*run, "write"], check=True, stderr=subprocess.DEVNULL)
            for batch in batches:
                ours = measure(folder, batch, args.engine)
                command = [*run, "time", str(batch), str(SECONDS)]
                done = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
                )
                theirs = json.loads(done.stdout.splitlines()[-1])
                rates = [batch / seconds for seconds in (ours, theirs["eager"], theirs["compile"])]
                cells = " ".join(f"{rate:>8.2f}" for rate in rates)
                print(f"{name:<22} {batch:>5} {cells}  {rates[0] / rates[2]:.2f}", flush=True)
                jax.clear_caches()


def measure(folder: str, batch: int, engine: str) -> float:
    """Return the seconds of a batch."""
    model = load(folder, resize="native", engine=engine)
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (batch, SIDE, SIDE, 3), np.uint8))
    return median_seconds(lambda: model.batch(images, probabilities=False), SECONDS)


if __name__ == "__main__":
    main()
