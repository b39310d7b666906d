import pytest

from fcnjax.published import palettes


@pytest.mark.parametrize(
    ("names", "colour"),
    [
        (tuple(palettes._LOVEDA), (255, 255, 255)),
        (tuple(palettes._MAPILLARY), (165, 42, 42)),
        (tuple(palettes._atr()), (0, 0, 0)),
    ],
)
def test_a_dataset_is_found_by_its_class_names(names, colour):
    as_published = [f" {name.upper()} , synonym" for name in names]
    found = palettes.find_palette(as_published)
    assert len(found) == len(names)
    assert found[0] == colour
    assert palettes.find_palette(names[::-1])[-1] == colour
    assert palettes.find_palette(names[1:]) == ()


def test_mapillary_has_65_classes():
    assert len(palettes._MAPILLARY) == 65
    assert palettes._MAPILLARY["Crosswalk - Plain"] == (140, 140, 200)
    assert palettes._MAPILLARY["Ego Vehicle"] == (120, 10, 10)
