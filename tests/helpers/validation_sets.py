"""Made sets for tests of the doctor, and what they ask of its findings."""

import shlex

import numpy as np
from PIL import Image

from fcnjax.config import load_config
from fcnjax.data import open_source, resolve

SIZE, COUNT = (64, 80), 10


def draw(number, classes=3):
    """A picture of coarse noise and its labels: 0 ground, 1 disc, 2 bar."""
    rng = np.random.default_rng(number)
    ys, xs = np.mgrid[: SIZE[0], : SIZE[1]]
    y, x = rng.uniform(20, 44), rng.uniform(20, 40)
    label = ((ys - y) ** 2 + (xs - x) ** 2 < 200).astype(np.uint8)
    if classes > 2:
        label[:, 68 + number % 4 :] = 2
    noise = rng.integers(0, 200, (SIZE[0] // 8, SIZE[1] // 8, 3)).repeat(8, 0).repeat(8, 1)
    return (noise + 20 * label[..., None]).astype(np.uint8), label


def write(root, encode=lambda label: label, classes=3, suffix="png"):
    """Writes a set whose masks are made by `encode(label)`: an array, or a picture."""
    for part, numbers in (("train", range(7)), ("val", range(7, COUNT))):
        for name in ("images", "masks"):
            (root / name / part).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            image, label = draw(number, classes)
            Image.fromarray(image).save(root / "images" / part / f"p{number}.png")
            mask = encode(label)
            mask = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
            mask.save(root / "masks" / part / f"p{number}.{suffix}")
    return root


def config_of(root, *overrides):
    words = [f"--config.data.root={root}", "--config.augment.crop=32,32", *overrides]
    return load_config("folder", words)


def find(findings, kind, severity=None):
    """The one finding of a kind."""
    (found,) = [f for f in findings if f.kind == kind]
    assert severity in (None, found.severity), found
    return found


def kinds(findings, *severities):
    return {f.kind for f in findings if f.severity in severities}


def pasted(root, finding, *overrides):
    """The config with the line of a finding, as a shell would give it."""
    assert finding.overrides, finding
    return config_of(root, *overrides, *shlex.split(finding.line))


def labels_of(config):
    """Labels by name, of both splits."""
    config, _ = resolve(config)
    sources = [open_source(config, part) for part in ("train", "eval")]
    return {
        e["name"]: e["label"]
        for source in sources
        for e in map(source.__getitem__, range(len(source)))
    }


def assert_right(config, classes=3, exact=1.0, ignored=None):
    """The labels are those that were drawn; class `ignored` is ignored and the others move up."""
    labels = labels_of(config)
    assert len(labels) == COUNT
    for name, label in labels.items():
        truth = draw(int(name[1:]), classes)[1].astype(int)
        if ignored is not None:
            truth = np.where(truth == ignored, 255, truth - (truth > ignored))
        assert (label == truth).mean() >= exact
