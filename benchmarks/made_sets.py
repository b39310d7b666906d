"""Made datasets of known difficulty, to compare trainings: pictures with masks, drawn by a seed.

    python -m benchmarks.made_sets discs DIR
    python -m benchmarks.made_sets lines DIR --seed=1 --count=80

Writes DIR/images and DIR/masks as PNG files. Masks have a colour for each class; those of `grey16`
have class ids. The sizes vary around 160x200. The same seed gives the same pixels, and an image
does not depend on the number of images.
"""

import argparse
import colorsys
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

HEIGHTS, WIDTHS = (144, 176), (180, 220)
COLOURS = (
    *((0, 0, 0), (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48)),
    *((145, 30, 180), (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212)),
    *((0, 128, 128), (220, 190, 255)),
)
LIGHT = 0.2  # largest relative change of the brightness from the centre to an edge
NOISE = 0.03  # standard deviation, of pixels in 0..1
NOISE_16 = 120  # the same of 16-bit pixels
HUES = 6  # of `many`; each is plain or striped

Size = tuple[int, int]
Drawn = tuple[np.ndarray, np.ndarray]  # [H, W, 3] in 0..1 or [H, W] uint16; labels [H, W] uint8


class MadeSet(NamedTuple):
    """A made dataset.

    Attributes:
        draw: Draws an image and its labels, given the random generator and the size.
        classes: The number of classes.
        summary: The content, in one line.
        has_colours: Whether masks have a colour for each class, instead of ids.
    """

    draw: Callable[[np.random.Generator, Size], Drawn]
    classes: int
    summary: str
    has_colours: bool = True


def write_set(name: str, folder: str | Path, seed: int = 0, count: int = 40) -> None:
    """Write a made set.

    Args:
        name: A key of `SETS`.
        folder: The output folder, for `images` and `masks`.
        seed: The seed.
        count: The number of images.
    """
    made, number = SETS[name], list(SETS).index(name)
    for kind in ("images", "masks"):
        Path(folder, kind).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        rng = np.random.default_rng((seed, number, index))
        size = tuple(int(rng.integers(low, high + 1)) for low, high in (HEIGHTS, WIDTHS))
        image, label = made.draw(rng, size)
        mask = np.asarray(COLOURS, np.uint8)[label] if made.has_colours else label
        for kind, pixels in (("images", image), ("masks", mask)):
            Image.fromarray(pixels).save(Path(folder, kind, f"{index:04}.png"))


def _discs(rng: np.random.Generator, size: Size) -> Drawn:
    """Discs (1) and squares (2) of any colour; only the form tells them apart."""
    image, label = _ground(rng, size), np.zeros(size, np.uint8)
    for _ in range(3):
        _paint(rng, image, _curve(rng, size, 2), _contrasting(rng, image))
    for _ in range(rng.integers(5, 10)):
        kind, radius = int(rng.integers(1, 3)), rng.uniform(8, 20)
        down, along = _local(rng, size)
        square = np.maximum(abs(down), abs(along)) < 0.89 * radius  # of the area of the disc
        shape = np.hypot(down, along) < radius if kind == 1 else square
        _paint(rng, image, shape, _contrasting(rng, image))
        label[shape] = kind
    return _photograph(rng, image), label


def _lines(rng: np.random.Generator, size: Size) -> Drawn:
    """Curves of 1 to 3 pixels (1), beside spots and the edges of large patches."""
    image, label = _ground(rng, size), np.zeros(size, np.uint8)
    for _ in range(2):
        patch = _smooth(rng, size, 25) > 0.7
        image[patch] += rng.uniform(-0.12, 0.12)
    for _ in range(12):
        down, along = _local(rng, size)
        image[np.hypot(down, along) < rng.uniform(1.5, 4)] += rng.choice((-1, 1)) * 0.15
    for _ in range(rng.integers(5, 10)):
        line = _curve(rng, size, int(rng.integers(1, 4)))
        image[line] += rng.choice((-1, 1)) * rng.uniform(0.12, 0.3)
        label[line] = 1
    return _photograph(rng, image), label


def _rare(rng: np.random.Generator, size: Size) -> Drawn:
    """Large regions (1) and red spots of 1 % of the pixels (2), beside long and blue spots."""
    image, label = _ground(rng, size), np.zeros(size, np.uint8)
    region = _smooth(rng, size, 16) > 0.7
    image[region] = 0.5 * image[region] + 0.5 * np.asarray((0.35, 0.6, 0.3))
    label[region] = 1
    kinds = ["long"] * 3 + ["blue"] * 3 + ["round"] * int(rng.integers(3, 6))
    for kind in rng.permutation(kinds):
        down, along = _local(rng, size)
        radius = rng.uniform(4, 6.5)
        length = 2.5 if kind == "long" else rng.uniform(1, 1.2)
        spot = np.hypot(down * length**0.5, along / length**0.5) < radius
        colour = (0.35, 0.3, 0.75) if kind == "blue" else (0.75, 0.3, 0.35)
        _paint(rng, image, spot, np.asarray(colour) + rng.normal(scale=0.05, size=3))
        label[spot] = 2 if kind == "round" else label[spot]
    return _photograph(rng, image), label


def _textures(rng: np.random.Generator, size: Size) -> Drawn:
    """Regions of four textures of the same mean and contrast."""
    fields = np.stack([_smooth(rng, size, 16) for _ in range(4)])
    label = fields.argmax(0).astype(np.uint8)
    down, along = _local(rng, size)
    bend = 1.5 * _smooth(rng, size, 12)
    textures = (
        _smooth(rng, size, 0.8),
        _smooth(rng, size, 2.5),
        np.sqrt(2) * np.sin(2 * np.pi * down / 6 + bend),
        2 * np.sin(2 * np.pi * down / 9 + bend) * np.sin(2 * np.pi * along / 9 - bend),
    )
    grain = np.take_along_axis(np.stack(textures), label[None].astype(int), 0)[0]
    image = rng.uniform(0.35, 0.65, 3) + rng.uniform(0.08, 0.14) * grain[..., None]
    image = image + 0.05 * _smooth(rng, size, 20)[..., None]
    return _photograph(rng, image), label


def _many(rng: np.random.Generator, size: Size) -> Drawn:
    """Ellipses of six hues, plain or striped (1 to 12), that cover each other."""
    image, label = _ground(rng, size, grey=True), np.zeros(size, np.uint8)
    for _ in range(rng.integers(10, 17)):
        hue, striped = int(rng.integers(HUES)), bool(rng.integers(2))
        down, along = _local(rng, size)
        shape = np.hypot(down / rng.uniform(9, 16), along / rng.uniform(12, 24)) < 1
        shade = (hue / HUES + rng.normal(scale=0.015)) % 1, rng.uniform(0.4, 0.8)
        _paint(rng, image, shape, np.asarray(colorsys.hsv_to_rgb(*shade, rng.uniform(0.5, 0.9))))
        if striped:
            stripes = 0.15 * np.sin(2 * np.pi * along / 5)
            image[shape] += stripes[shape][:, None]
        label[shape] = 1 + 2 * hue + striped
    return _photograph(rng, image), label


def _grey16(rng: np.random.Generator, size: Size) -> Drawn:
    """Cells (1) with nuclei (2), within a hundredth of the range of 16 bits."""
    label = np.zeros(size, np.uint8)
    image = rng.uniform(9000, 13000) + 250 * _smooth(rng, size, 30) + 100 * _smooth(rng, size, 5)
    for _ in range(rng.integers(5, 10)):
        down, along = _local(rng, size)
        cell = np.hypot(down / rng.uniform(10, 18), along / rng.uniform(14, 24))
        image[cell < 1] += rng.uniform(200, 450)
        nucleus = cell < rng.uniform(0.35, 0.55)
        image[nucleus] += rng.uniform(250, 500)
        label[cell < 1] = 1
        label[nucleus] = 2
    image = gaussian_filter(image, 0.8) + rng.normal(scale=NOISE_16, size=size)
    return np.rint(image).astype(np.uint16), label


SETS = {
    "discs": MadeSet(_discs, 3, "discs and squares of any colour on textured grounds"),
    "lines": MadeSet(_lines, 2, "curves of 1 to 3 pixels"),
    "rare": MadeSet(_rare, 3, "a class of 1 % of the pixels, beside similar spots"),
    "textures": MadeSet(_textures, 4, "regions that differ by texture alone"),
    "many": MadeSet(_many, 13, "12 classes of ellipses and the background"),
    "grey16": MadeSet(_grey16, 3, "16-bit grey of low contrast", has_colours=False),
}


def _smooth(rng: np.random.Generator, size: Size, sigma: float) -> np.ndarray:
    """Return Gaussian noise `[H, W]` blurred by `sigma` pixels, of mean 0 and deviation 1."""
    noise = gaussian_filter(rng.normal(size=size), sigma, mode="wrap")
    return (noise - noise.mean()) / noise.std()


def _ground(rng: np.random.Generator, size: Size, grey: bool = False) -> np.ndarray:
    """Return a textured ground `[H, W, 3]` of a random colour."""
    image = np.broadcast_to(rng.uniform(0.3, 0.65, 1 if grey else 3), (*size, 3)).copy()
    for sigma, strength in ((20, 0.06), (5, 0.05), (1.2, 0.04)):
        tint = np.ones(3) if grey else rng.uniform(0.5, 1.5, 3)
        image += strength * _smooth(rng, size, sigma)[..., None] * tint
    return image


def _local(rng: np.random.Generator, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates `[H, W]` around a random centre, turned by a random angle."""
    rows, columns = np.indices(size)
    down, along = rows - rng.uniform(0, size[0]), columns - rng.uniform(0, size[1])
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * down - sin * along, sin * down + cos * along


def _curve(rng: np.random.Generator, size: Size, width: int) -> np.ndarray:
    """Return the pixels `[H, W]` of a quadratic Bezier curve across the image."""
    ends = rng.uniform(0, 1, (3, 2)) * (size[1], size[0])
    t = np.linspace(0, 1, 40)[:, None]
    points = (1 - t) ** 2 * ends[0] + 2 * t * (1 - t) * ends[1] + t**2 * ends[2]
    canvas = Image.new("L", size[::-1])
    ImageDraw.Draw(canvas).line([*map(tuple, points)], fill=1, width=width, joint="curve")
    return np.asarray(canvas, bool)


def _contrasting(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return a random colour at some distance from the mean colour of an image."""
    direction = rng.normal(size=3)
    return image.mean((0, 1)) + rng.uniform(0.2, 0.4) * direction / np.linalg.norm(direction)


def _paint(
    rng: np.random.Generator, image: np.ndarray, shape: np.ndarray, colour: np.ndarray
) -> None:
    """Fill the pixels of a shape with a grainy colour."""
    grain = 0.04 * _smooth(rng, shape.shape, 1.5)
    image[shape] = colour + grain[shape][:, None]


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return an image `[H, W, 3]` in 0..1 as uint8, blurred, lit from one side, with noise."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = (np.linspace(-1, 1, length) for length in image.shape[:2])
    light = 1 + LIGHT * (np.sin(angle) * rows[:, None] + np.cos(angle) * columns)
    image = gaussian_filter(image, (0.6, 0.6, 0)) * light[..., None]
    image = image + rng.normal(scale=NOISE, size=image.shape)
    return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)


def main() -> int:
    """Write the set that the command line names."""
    kinds = "; ".join(f"{name}: {made.summary}" for name, made in SETS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=SETS, help=kinds.replace("%", "%%"))
    parser.add_argument("folder", help="output folder, for images/ and masks/")
    parser.add_argument("--seed", type=int, default=0, help="seed of the pictures (0)")
    parser.add_argument("--count", type=int, default=40, help="number of pictures (40)")
    args = parser.parse_args()
    write_set(args.name, args.folder, args.seed, args.count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
