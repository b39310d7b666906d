"""Compares the engines that predict on a CPU: XLA, ONNX Runtime and OpenVINO.

    python benchmarks/engines.py
    python benchmarks/engines.py --models=unet,segformer --sizes=1x512x512,8x128x128

The weights are drawn. A call turns a batch of images as stored into masks, by `Model.batch`. The
time is the median over repetitions, after the first call, which compiles. In one run, the engines
are measured one after the other. Run it on a machine that does nothing else.
"""

import argparse

import jax
import numpy as np
from timing import median_seconds

from fcnjax.config import default_config
from fcnjax.export.program import ExportSource
from fcnjax.inference import make_model
from fcnjax.inference.engines import ENGINES, XLA, with_engine
from fcnjax.models import build_model
from fcnjax.training.state import init_variables

CLASSES = 21
SECONDS = 5.0  # of repetitions
MODELS = {
    "unet": ("vanilla", "unet", {"widths": (16, 32, 64, 128)}),
    "fcn_resnet50": ("resnet50", "fcn_head", {"output_stride": 8}),
    "deeplabv3_mobilenet_v3": ("mobilenet_v3_large", "deeplabv3", {"output_stride": 16}),
    "segformer": ("mit_b0", "segformer", {}),
}


def main() -> None:
    """Print a table of milliseconds for each call."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default=",".join(MODELS), help="models, with commas")
    parser.add_argument("--sizes", default="1x512x512", help="BATCHxHxW, with commas")
    args = parser.parse_args()
    names = (XLA, *ENGINES)
    print(f"{'model':<24} {'images':>12}" + "".join(f"{name:>14}" for name in names))
    for model in args.models.split(","):
        source = make_source(model)
        base = make_model(source.config, source.model, source.variables, source.step)
        for size in args.sizes.split(","):
            batch, height, width = map(int, size.split("x"))
            rng = np.random.default_rng(0)
            images = list(rng.integers(0, 256, (batch, height, width, 3), np.uint8))
            cells, masks = [], []
            for name in names:
                engine = with_engine(base, source, name)
                masks.append(np.stack([p.mask for p in engine.batch(images, probabilities=False)]))
                seconds = median_seconds(
                    lambda: engine.batch(images, probabilities=False),  # noqa: B023
                    SECONDS,
                )
                cells.append(f"{1e3 * seconds:>11.0f} ms")
            print(f"{model:<24} {size:>12}" + "".join(cells), flush=True)
            for name, mask in zip(names[1:], masks[1:], strict=True):
                differing = 100 * np.mean(mask != masks[0])
                if differing > 0.01:
                    print(f"  {name}: classes differ in {differing:.3f} % of the pixels")
        jax.clear_caches()


def make_source(name: str) -> ExportSource:
    """Return a model with drawn weights."""
    config = default_config()
    config.model.encoder, config.model.decoder, options = MODELS[name]
    config.model.update(options)
    config.data.class_names = tuple(f"class {i}" for i in range(CLASSES))
    config.data.pixel_type = "uint8"
    model = build_model(config)
    variables = jax.device_get(jax.jit(lambda: init_variables(model, config))())
    return ExportSource(config, model, variables, 0, "uint8", ())


if __name__ == "__main__":
    main()
