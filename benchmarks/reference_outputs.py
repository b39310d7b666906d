"""Print the outputs of torch models on weights drawn by NumPy, for `fcnjax models parity`.

This needs torch, torchvision, timm and segmentation_models_pytorch, which fcnjax does not need:

    python benchmarks/reference_outputs.py smp/Unet/resnet34 timm/convnext_tiny > outputs.json
    fcnjax models parity outputs.json

A name is torchvision/MODEL, timm/MODEL (its features; timm-classifier/MODEL: its classes) or
smp/ARCHITECTURE/ENCODER. timm's and smp's take options, as in timm/resnet50?output_stride=8.
"""

import argparse
import ast
import json
import zlib

import numpy as np
import torch


def make(name: str, channels: int, classes: int) -> torch.nn.Module:
    """Return the model of that name, without weights."""
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
    """Draw the model's weights from the names and shapes of its tensors."""
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        rng, shape = np.random.default_rng(zlib.crc32((salt + name).encode())), tuple(tensor.shape)
        if len(shape) > 1:
            value = rng.standard_normal(shape) * np.sqrt(1.2 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif name.endswith(("running_mean", "bias")):
            value = rng.standard_normal(shape) * 0.1
        else:
            value = rng.uniform(0.5, 1.5, shape)
        state[name] = torch.from_numpy(np.asarray(value, np.float32))
    model.load_state_dict(state)


def run(model: torch.nn.Module, image: np.ndarray, count: int) -> list[dict]:
    """Return shape, mean, deviation and `count` sampled values of each output of the model."""
    with torch.no_grad():
        outputs = model(torch.from_numpy(image))
    if isinstance(outputs, dict):
        outputs = outputs["out"]
    rows = []
    for array in outputs if isinstance(outputs, list | tuple) else [outputs]:
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
    """Print the entries as a JSON list, one on each line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--size", default="96x128", help="height x width of the input")
    parser.add_argument(
        "--channels", type=int, default=3, help="channels of the input, for timm and smp"
    )
    parser.add_argument("--classes", type=int, default=3, help="classes of smp's models")
    parser.add_argument("--seed", type=int, default=0, help="seed of the input")
    parser.add_argument("--salt", default="", help="prefix of the names that seed the weights")
    parser.add_argument(
        "--values", type=int, default=64, help="number of values sampled from each output"
    )
    args = parser.parse_args()
    shape = (1, args.channels, *map(int, args.size.split("x")))
    image = np.random.default_rng(args.seed).standard_normal(shape).astype(np.float32)
    entries = []
    for name in args.names:
        model = make(name, args.channels, args.classes).eval()
        draw(model, args.salt)
        entry = {"name": name.partition("?")[0].replace("timm-classifier", "timm")}
        entry |= {"input": list(shape), "input_seed": args.seed, "salt": args.salt}
        entry["params"] = sum(p.numel() for p in model.parameters())
        entry["outputs"] = run(model, image, args.values)
        entries.append(json.dumps(entry))
    print("[\n" + ",\n".join(entries) + "\n]")


if __name__ == "__main__":
    main()
