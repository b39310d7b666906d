"""The size at which a model sees an image follows the rule of its processor."""

import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models.input_size import check_resize, input_size, resize_map, set_input_size


def resize(**keys):
    config = default_config().eval.resize
    for key, value in keys.items():
        config[key] = value
    return config


@pytest.mark.parametrize(
    ("keys", "size", "expected"),
    [
        ({}, (30, 50), (30, 50)),
        ({"rule": "stretch", "size": (64, 48)}, (30, 50), (64, 48)),
        ({"rule": "stretch", "size": (50,), "multiple": 32}, (9, 9), (64, 64)),
        (
            {"rule": "shortest_edge", "size": (640, 2560), "multiple": 32, "round_up": True},
            (480, 640),
            (640, 864),
        ),
        # As torchvision: the longer side is rounded down.
        ({"rule": "shortest_edge", "size": (65,)}, (100, 75), (86, 65)),
        ({"rule": "shortest_edge", "size": (65,)}, (75, 100), (65, 86)),
        # As transformers: 800 x 2000 would exceed 1333.
        ({"rule": "shortest_edge", "size": (800, 1333)}, (400, 1000), (533, 1333)),
        ({"rule": "shortest_edge", "size": (800, 1333)}, (400, 500), (800, 1000)),
        ({"rule": "longest_edge", "size": (64,)}, (100, 50), (64, 32)),
        # As DPT: the factors are 0.8 and 0.57, of which 0.8 changes less.
        ({"rule": "least_change", "size": (40, 40), "multiple": 8}, (50, 70), (40, 56)),
        ({"rule": "shortest_edge", "size": (4,)}, (1, 3000), (4, 12000)),
    ],
)
def test_input_size(keys, size, expected):
    assert input_size(size, resize(**keys)) == expected


def test_map_of_a_batch_has_the_extents_of_its_images():
    rule = resize(rule="shortest_edge", size=(32,))
    mixed = resize_map([(32, 64), (64, 32), (32, 32)], rule, 64)
    assert mixed.size == (64, 64)
    assert mixed.extent.tolist() == [[32, 64], [64, 32], [32, 32]]
    same = resize_map([(10, 20), (20, 40)], rule, 64)
    assert (same.size, same.extent) == ((32, 64), None)
    assert resize_map([(10, 20)], resize(), 64) is None


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (None, ("stretch", (64, 48), ())),
        ("original", ("stretch", (64, 48), (32, 32))),
        ("native", ("", (64, 48), ())),
        ("512", ("shortest_edge", (512,), ())),
        ("512x640", ("stretch", (512, 640), ())),
    ],
)
def test_requested_size(requested, expected):
    published = resize(rule="stretch", size=(64, 48), crop=(32, 32))
    set_input_size(published, requested)
    assert (published.rule, tuple(published.size), tuple(published.crop)) == expected


@pytest.mark.parametrize("requested", ["", "0", "5x", "512x512x3", "big", "-4", "99999"])
def test_invalid_size_is_one_line(requested):
    with pytest.raises(UserError, match=r"--resize: .* is not original, native"):
        set_input_size(resize(), requested)


def test_a_rule_without_a_size_is_one_line():
    with pytest.raises(UserError, match=r"resize\.size: is empty, and rule=stretch needs it"):
        check_resize(resize(rule="stretch"))
