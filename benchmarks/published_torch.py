"""The part of `benchmarks/published.py` that runs in a Python with torch and transformers.

    python benchmarks/published_torch.py segformer_b0 FOLDER write
    python benchmarks/published_torch.py segformer_b0 FOLDER time BATCH SECONDS

`write` saves a model with drawn weights; `time` prints the median seconds of a batch, eagerly and
by torch.compile, as JSON.
"""

import json
import sys

import numpy as np
import torch
from planner_smp import define_torchvision_operators
from timing import median_seconds
from torch.nn import functional

try:
    import torchvision  # noqa: F401
except RuntimeError:
    define_torchvision_operators()
import transformers

SIDE, CLASSES = 512, 150
_STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}


def make(name: str) -> torch.nn.Module:
    """Return a model with the architecture of a well-known checkpoint."""
    torch.manual_seed(0)
    if name == "segformer_b0":
        config = transformers.SegformerConfig(num_labels=CLASSES)
        return transformers.SegformerForSemanticSegmentation(config)
    if name == "upernet_convnext_tiny":
        sizes = {"depths": [3, 3, 9, 3], "hidden_sizes": [96, 192, 384, 768]}
        backbone = transformers.ConvNextConfig(**sizes, **_STAGES)
        config = transformers.UperNetConfig(backbone_config=backbone, num_labels=CLASSES)
        return transformers.UperNetForSemanticSegmentation(config)
    raise SystemExit(f"unknown model {name!r}")


def main() -> None:
    """Write a model, or time it."""
    name, folder, action, *rest = sys.argv[1:]
    model = make(name).eval()
    if action == "write":
        model.save_pretrained(folder)
        transformers.SegformerImageProcessor().save_pretrained(folder)
        return
    torch.set_num_threads(2)
    batch, seconds = int(rest[0]), float(rest[1])
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((batch, 3, SIDE, SIDE)).astype(np.float32))

    def predict(values: torch.Tensor) -> torch.Tensor:
        logits = model(values).logits
        if logits.shape[-1] != SIDE:
            logits = functional.interpolate(logits, (SIDE, SIDE), mode="bilinear")
        return logits.argmax(1)

    with torch.inference_mode():
        eager = median_seconds(lambda: predict(values), seconds)
        compiled = torch.compile(predict)
        fast = median_seconds(lambda: compiled(values), seconds)
    print(json.dumps({"eager": eager, "compile": fast}))


if __name__ == "__main__":
    main()
