"""Print outputs of torch models with weights drawn by NumPy, for `fcnjax models parity`.

Needs torch, torchvision, timm and segmentation_models_pytorch:

    python benchmarks/reference_outputs.py smp/Unet/resnet34 timm/convnext_tiny > outputs.json
    fcnjax models parity outputs.json

A name is torchvision/MODEL, timm/MODEL (features), timm-classifier/MODEL (class logits) or
smp/ARCHITECTURE/ENCODER. Names of timm and smp take options, as in timm/resnet50?output_stride=8.

    python benchmarks/reference_outputs.py hub/segformer hub/beit --out=tests/published/goldens

writes small models in the layout of transformers, which needs that too (hub_models.py). Models with
their weights, to compare fcnjax with outputs in float64:

    python benchmarks/reference_outputs.py hub/mask2former --out=DIR --weights --float64
    fcnjax models parity DIR/mask2former
"""

import argparse
import ast
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch


def make(name: str, channels: int, classes: int) -> torch.nn.Module:
    """Return the model of a name, before its weights are drawn."""
    name, _, query = name.partition("?")
    options = dict(pair.split("=") for pair in query.split("&") if pair)
    options = {key: ast.literal_eval(value) for key, value in options.items()}
    library, *rest = name.split("/")
    if library == "smp":
        import segmentation_models_pytorch as smp

        options |= {"encoder_weights": None, "in_channels": channels, "classes": classes}
        return getattr(smp, rest[0])(rest[1], **options)
    if library.startswith("timm"):
        import timm

        features = library == "timm"
        more = {"features_only": True} if features else {}
        return timm.create_model(rest[0], in_chans=channels, **more, **options)
    import torchvision

    segmentation = torchvision.models.segmentation
    if hasattr(segmentation, rest[0]):
        more = {} if rest[0].startswith("lraspp") else {"aux_loss": True}
        more |= {"weights": None, "weights_backbone": None, "num_classes": 21}
        return getattr(segmentation, rest[0])(**more, **options)
    return getattr(torchvision.models, rest[0])(weights=None, **options)


def draw(model: torch.nn.Module, salt: str) -> None:
    """Draw the weights of the model from the names and shapes of its tensors."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        state[name] = torch.from_numpy(draw_tensor(salt + name, tuple(tensor.shape)))
    model.load_state_dict(state)


def draw_tensor(name: str, shape: Sequence[int]) -> np.ndarray:
    """Draw a tensor, float32, seeded by its name with the salt before it."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if len(shape) > 1:
        value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
    elif name.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        value = rng.standard_normal(shape) * 0.1
    else:
        value = rng.uniform(0.5, 1.5, shape)
    return np.asarray(value, np.float32)


def select_outputs(model: torch.nn.Module, image: np.ndarray, count: int) -> list[dict]:
    """Return the shape, mean, deviation and `count` sampled values of each output."""
    with torch.no_grad():
        found = model(torch.from_numpy(image).to(next(model.parameters()).dtype))
    if isinstance(found, dict):
        found = found["out"]
    rows = []
    for array in found if isinstance(found, list | tuple) else [found]:
        array = array.numpy()
        rng = np.random.default_rng(1)
        index = rng.choice(array.size, min(count, array.size), replace=False)
        rows.append(
            {
                "shape": list(array.shape),
                "mean": float(array.mean()),
                "std": float(array.std()),
                "flat_index": index.tolist(),
                "value": [float(f"{value:.9g}") for value in array.reshape(-1)[index]],
            }
        )
    return rows


def main() -> None:
    """Print the entries as a JSON list, one per line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--size", default="96x128", help="height x width of the input")
    parser.add_argument("--channels", type=int, default=3, help="channels, for timm and smp (3)")
    parser.add_argument("--classes", type=int, default=3, help="classes, for smp (3)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the input (0)")
    parser.add_argument("--salt", default="", help="prefix of the names that seed the weights")
    parser.add_argument("--values", type=int, default=64, help="sampled values per output (64)")
    parser.add_argument("--float64", action="store_true", help="compute the outputs in float64")
    parser.add_argument("--out", metavar="DIR", help="folder of the models of transformers")
    parser.add_argument("--weights", action="store_true", help="write the weights of these, too")
    args = parser.parse_args()
    dtype = torch.float64 if args.float64 else torch.float32
    if args.names[0].startswith("hub/"):
        from hub_models import write_model

        for name in (name.removeprefix("hub/") for name in args.names):
            write_model(name, Path(args.out) / name, args.weights, dtype)
        return
    shape = (1, args.channels, *map(int, args.size.split("x")))
    image = np.random.default_rng(args.seed).standard_normal(shape).astype(np.float32)
    entries = []
    for name in args.names:
        model = make(name, args.channels, args.classes).eval()
        draw(model, args.salt)
        model.to(dtype)
        entry = {"name": name.partition("?")[0].replace("timm-classifier", "timm")}
        entry |= {"input": list(shape), "input_seed": args.seed, "salt": args.salt}
        entry["params"] = sum(p.numel() for p in model.parameters())
        entry["outputs"] = select_outputs(model, image, args.values)
        entries.append(json.dumps(entry))
    print("[\n" + ",\n".join(entries) + "\n]")


if __name__ == "__main__":
    main()
