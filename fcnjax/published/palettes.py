"""The colours of published datasets, for models that name their classes."""

from collections.abc import Iterator, Sequence

from fcnjax.data.sources.benchmarks import ade20k, celebamask, cityscapes, voc
from fcnjax.data.sources.benchmarks.palette import parse_palette

RGB = tuple[int, int, int]
# The colours of LoveDA as its code has them (Wang et al. 2021, arXiv:2110.08733).
_LOVEDA = parse_palette(
    """
    background ffffff, building ff0000, road ffff00, water 0000ff, barren 9f81b7, forest 00ff00,
    agricultural ffc380
    """
)
# The classes of ATR (Liang et al. 2015), as models of clothes name them, in the colours of
# "Self-Correction for Human Parsing" (its palette is that of VOC).
_ATR = """
    background, hat, hair, sunglasses, upper-clothes, skirt, pants, dress, belt, left-shoe,
    right-shoe, face, left-leg, right-leg, left-arm, right-arm, bag, scarf
"""


def _atr() -> dict[str, RGB]:
    names = [name.strip() for name in _ATR.replace("\n", " ").split(",")]
    return dict(zip(names, voc.voc_palette(len(names)), strict=True))


def _palettes() -> Iterator[dict[str, RGB]]:
    yield ade20k.CLASSES
    yield cityscapes.CLASSES
    yield dict(zip(voc.CLASS_NAMES, voc.voc_palette(len(voc.CLASS_NAMES)), strict=True))
    yield celebamask.CLASSES
    yield _LOVEDA
    yield _atr()


def find_palette(class_names: Sequence[str]) -> tuple[RGB, ...]:
    """Return the colours of the dataset whose classes these are; () where none has them all.

    A name counts by its first synonym, without case.
    """
    names = [_key(name) for name in class_names]
    for palette in _palettes():
        colours = {_key(name): colour for name, colour in palette.items()}
        if len(names) == len(colours) and all(name in colours for name in names):
            return tuple(colours[name] for name in names)
    return ()


def _key(name: str) -> str:
    return " ".join(name.split(",")[0].split(";")[0].replace("_", " ").split()).lower()
