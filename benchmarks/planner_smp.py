"""Trains segmentation_models.pytorch for `benchmarks/planner.py`, in a Python of its own.

    pip install torch torchvision timm segmentation-models-pytorch
    python benchmarks/planner_smp.py FOLDER --classes=3 --seconds=600

A Unet over resnet18, with ImageNet weights if they can be downloaded (HF_HUB_OFFLINE=1 does not
try); Adam with 1e-3, batches of 8 crops of 128x128, horizontal flips, Dice and cross-entropy. Reads
train.npz and eval.npz of FOLDER, with `image0` `[H, W, C]`, `label0` `[H, W]` and so on. The time
starts once the model and the images are in memory. Writes masks.npz, with the predicted classes
`[H, W]` of each image of eval.npz by its number, and run.json.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

BATCH, CROP, LEARNING_RATE, THREADS = 8, 128, 1e-3, 2
IGNORED = 255
LIBRARIES = []  # definitions of operators, which last as long as their object
STRIDE = 32  # of the encoder: the sides of an image must be multiples of it
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


def define_torchvision_operators() -> None:
    """Declare two operators of torchvision, which its import asks for.

    They are missing if torchvision was built for another torch; nothing here calls them.
    """
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    LIBRARIES.append(library)


def make_model(classes: int) -> tuple[torch.nn.Module, str]:
    """Return the model, and the weights of its encoder: `imagenet` or `random`."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        define_torchvision_operators()
    import segmentation_models_pytorch as smp

    try:
        return smp.Unet("resnet18", encoder_weights="imagenet", classes=classes), "imagenet"
    except Exception:  # without a network; the library has no error of its own for it
        return smp.Unet("resnet18", encoder_weights=None, classes=classes), "random"


def read_examples(path: Path, scale: float | None) -> tuple[list, list, float]:
    """Return images `[3, H, W]` float32, normalised, and labels `[H, W]` int64.

    Args:
        path: The file.
        scale: The value of white; None takes 255, or the greatest value for other types than uint8.

    Returns:
        The images, the labels and the value of white.
    """
    with np.load(path) as arrays:
        count = sum(name.startswith("image") for name in arrays.files)
        images = [arrays[f"image{index}"] for index in range(count)]
        labels = [arrays[f"label{index}"].astype(np.int64) for index in range(count)]
    if scale is None:
        scale = 255.0 if images[0].dtype == np.uint8 else float(max(i.max() for i in images))
    normal = []
    for image in images:
        image = np.broadcast_to(image.astype(np.float32) / scale, (*image.shape[:2], 3))
        image = (image - np.float32(MEAN)) / np.float32(STD)
        normal.append(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))))
    return normal, [*map(torch.from_numpy, labels)], scale


def pad(array: torch.Tensor, height: int, width: int, value: float) -> torch.Tensor:
    """Pad `[..., H, W]` at the bottom and the right."""
    missing = (0, width - array.shape[-1], 0, height - array.shape[-2])
    return torch.nn.functional.pad(array, missing, value=value)


def draw_batch(rng: np.random.Generator, images: list, labels: list) -> tuple:
    """Return random crops `[B, 3, h, w]` with their labels `[B, h, w]`."""
    crops = []
    for index in rng.choice(len(images), BATCH):
        image, label = images[index], labels[index]
        height, width = (max(side, CROP) for side in label.shape)
        image, label = pad(image, height, width, 0), pad(label, height, width, IGNORED)
        top, left = rng.integers(height - CROP + 1), rng.integers(width - CROP + 1)
        crop = (image[:, top : top + CROP, left : left + CROP],)
        crop = (*crop, label[top : top + CROP, left : left + CROP])
        crops.append([part.flip(-1) for part in crop] if rng.random() < 0.5 else crop)
    return tuple(map(torch.stack, zip(*crops, strict=True)))


def train(model: torch.nn.Module, images: list, labels: list, seconds: float, seed: int) -> int:
    """Train for the time; return the number of steps."""
    import segmentation_models_pytorch as smp

    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORED)
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORED)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    rng, steps = np.random.default_rng(seed), 0
    model.train()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        image, label = draw_batch(rng, images, labels)
        logits = model(image)
        loss = dice(logits, label) + cross_entropy(logits, label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return steps


@torch.inference_mode()
def predict(model: torch.nn.Module, image: torch.Tensor) -> np.ndarray:
    """Return the classes `[H, W]` uint8 of an image `[3, H, W]`."""
    height, width = image.shape[1:]
    sides = (-(-side // STRIDE) * STRIDE for side in (height, width))
    logits = model(pad(image, *sides, 0)[None])
    return logits[0, :, :height, :width].argmax(0).to(torch.uint8).numpy()


def main() -> int:
    """Train, predict the held-out images, and write both files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of train.npz and eval.npz")
    parser.add_argument("--classes", type=int, required=True, help="number of classes")
    parser.add_argument("--seconds", type=float, required=True, help="time of the training")
    parser.add_argument("--seed", type=int, default=0, help="seed (0)")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(THREADS)
    model, weights = make_model(args.classes)
    images, labels, scale = read_examples(args.folder / "train.npz", None)
    steps = train(model, images, labels, args.seconds, args.seed)
    model.eval()
    held_out, _, _ = read_examples(args.folder / "eval.npz", scale)
    masks = {str(index): predict(model, image) for index, image in enumerate(held_out)}
    np.savez_compressed(args.folder / "masks.npz", **masks)
    run = {"steps": steps, "weights": weights}
    (args.folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
