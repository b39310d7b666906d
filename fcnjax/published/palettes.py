"""The colours of published datasets, for models that name their classes."""

from collections.abc import Iterator, Sequence

from fcnjax.data.labels.class_names import class_key
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
# The classes of Mapillary Vistas (Neuhold et al. 2017) without `Unlabeled`, and their colours, as
# MMSegmentation has them.
_MAPILLARY = parse_palette(
    """
    Bird a52a2a, Ground Animal 00c000, Curb c4c4c4, Fence be9999, Guard Rail b4a5b4,
    Barrier 5a7896, Wall 66669c, Bike Lane 8040ff, Crosswalk - Plain 8c8cc8, Curb Cut aaaaaa,
    Parking faaaa0, Pedestrian Area 606060, Rail Track e6968c, Road 804080, Service Lane 6e6e6e,
    Sidewalk f423e8, Bridge 966464, Building 464646, Tunnel 96785a, Person dc143c,
    Bicyclist ff0000, Motorcyclist ff0064, Other Rider ff00c8, Lane Marking - Crosswalk c88080,
    Lane Marking - General ffffff, Mountain 40aa40, Sand e6a032, Sky 4682b4, Snow beffff,
    Terrain 98fb98, Vegetation 6b8e23, Water 00aa1e, Banner ffff80, Bench fa001e, Bike Rack 648cb4,
    Billboard dcdcdc, Catch Basin dc8080, CCTV Camera de2828, Fire Hydrant 64aa1e,
    Junction Box 282828, Mailbox 212121, Manhole 6480a0, Phone Booth 8e0000, Pothole 466496,
    Street Light d2aa64, Pole 999999, Traffic Sign Frame 808080, Utility Pole 000050,
    Traffic Light faaa1e, Traffic Sign (Back) c0c0c0, Traffic Sign (Front) dcdc00,
    Trash Can 8c8c14, Bicycle 770b20, Boat 9600ff, Bus 003c64, Car 00008e, Caravan 00005a,
    Motorcycle 0000e6, On Rails 005064, Other Vehicle 804040, Trailer 00006e, Truck 000046,
    Wheeled Slow 0000c0, Car Mount 202020, Ego Vehicle 780a0a
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
    yield _MAPILLARY
    yield _atr()


def find_palette(class_names: Sequence[str]) -> tuple[RGB, ...]:
    """Return the colours of the dataset whose classes these are; () where none has them all.

    A name counts by its first synonym, without case, spaces, `_` and `-`.
    """
    names = [_key(name) for name in class_names]
    for palette in _palettes():
        colours = {_key(name): colour for name, colour in palette.items()}
        if len(names) == len(colours) and all(name in colours for name in names):
            return tuple(colours[name] for name in names)
    return ()


def _key(name: str) -> str:
    return class_key(name.split(",")[0].split(";")[0])
