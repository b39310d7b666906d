"""Evaluates a random forest on pixels on the data of a recipe, as a baseline for networks.

    pip install scikit-learn scikit-image
    python benchmarks/pixel_forest.py biomedical_he_nuclei
    python benchmarks/pixel_forest.py satellite_landsat8_cloud --bare

Uses the training and held-out examples of the recipe, as `fcnjax train` does. The features of a
pixel are its channels and scikit-image's `multiscale_basic_features`: Gaussians, edges and
eigenvalues of the Hessian at scales of 0.5 to 8 pixels. With `--bare` they are the channels only,
which is best for labels that follow a rule on single pixels. The forest has 100 trees and is
trained on up to an equal share of `--pixels` for each class.
"""

import argparse
import sys

import numpy as np
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from fcnjax import data, metrics
from fcnjax.config import load_config
from fcnjax.data.source import Source


def features(image: np.ndarray, bare: bool) -> np.ndarray:
    """Return the features `[H, W, F]` float32 of the pixels of an image `[H, W, C]`."""
    image = np.asarray(image, np.float32)
    if bare:
        return image
    found = multiscale_basic_features(image, sigma_min=0.5, sigma_max=8, channel_axis=-1)
    return np.concatenate([image, found], -1, dtype=np.float32)


def sample_pixels(
    source: Source, pixels: int, classes: int, bare: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Sample features `[N, F]` and labels `[N]` of at most `pixels` pixels of a source."""
    rng = np.random.default_rng(0)
    most = max(pixels // classes // len(source), 1)
    rows, labels = [], []
    for index in range(len(source)):
        example = source[index]
        label, found = np.asarray(example["label"]), None
        for value in range(classes):
            places = np.flatnonzero(label == value)
            if not places.size:
                continue
            found = features(example["image"], bare) if found is None else found
            taken = rng.choice(places, min(most, places.size), replace=False)
            rows.append(found.reshape(-1, found.shape[-1])[taken])
            labels.append(np.full(taken.size, value))
    return np.concatenate(rows), np.concatenate(labels)


def main() -> int:
    """Train the forest and print the table of its scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="name or file, as in fcnjax train --config")
    parser.add_argument("--pixels", type=int, default=50_000, help="training pixels (50000)")
    parser.add_argument("--bare", action="store_true", help="use only the channels as features")
    args = parser.parse_args()
    config, _ = data.resolve(load_config(args.config))
    names = tuple(config.data.class_names)
    train, held_out = (data.open_source(config, part) for part in ("train", "eval"))
    train_features, labels = sample_pixels(train, args.pixels, len(names), args.bare)
    forest = RandomForestClassifier(100, min_samples_leaf=5, n_jobs=-1, random_state=0)
    forest.fit(train_features, labels)
    total = metrics.ConfusionState(len(names))
    for index in range(len(held_out)):
        example = held_out[index]
        found = features(example["image"], args.bare)
        prediction = forest.predict(found.reshape(-1, found.shape[-1])).astype(np.int64)
        label = np.asarray(example["label"]).reshape(-1).astype(np.int64)
        counted = label < len(names)
        cells = label[counted] * len(names) + prediction[counted]
        total.add(np.bincount(cells, minlength=len(names) ** 2).reshape(len(names), -1))
    print(
        f"{len(labels)} pixels of {len(train)} images, {train_features.shape[1]} features of each"
    )
    print(metrics.format_table(metrics.compute(total.counts, names)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
