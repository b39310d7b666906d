import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.planner import data_rules
from fcnjax.planner.budget import Budget
from fcnjax.planner.fingerprint import Fingerprint, summarise

BUDGET = Budget(600.0, frozenset())


def dataset(*labels, names=("ground", "thing"), image=None):
    examples = [
        summarise(np.zeros((*label.shape, 3), np.uint8) if image is None else image, label, 2, 255)
        for label in labels
    ]
    return Fingerprint(len(labels), 1, examples, names, 1)


def values(rule, data, **changes):
    config = default_config()
    for key, value in changes.items():
        config.update_from_flattened_dict({key.replace("__", "."): value})
    chosen = {}
    for choice in rule(config, data, BUDGET):
        chosen |= choice.values
    return chosen


def label(height, width, thing):
    result = np.zeros((height, width), np.uint8)
    result[thing] = 1
    return result


def discs(count, rows=(0.1, 0.9), columns=(0.1, 0.9)):
    """Labels of 48x48 pixels with a disc at a random position within these parts."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[:48, :48] / 48
    centres = [(rng.uniform(*rows), rng.uniform(*columns)) for _ in range(count)]
    return [((ys - y) ** 2 + (xs - x) ** 2 < 0.02).astype(np.uint8) for y, x in centres]


def test_images_without_an_orientation_are_flipped_and_turned():
    chosen = values(data_rules.choose_flips, dataset(*discs(24)))
    assert chosen == {"augment.hflip": 0.5, "augment.vflip": 0.5, "augment.quarter_turns": 0.75}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (discs(24, rows=(0.7, 0.9)), (0.5, 0.0, 0.0)),
        (discs(24, columns=(0.7, 0.9)), (0.0, 0.0, 0.0)),
        (discs(5), (0.5, 0.0, 0.0)),  # too few to say
    ],
)
def test_classes_on_one_side_forbid_its_flip(labels, expected):
    chosen = values(data_rules.choose_flips, dataset(*labels))
    assert tuple(chosen.values()) == expected


def test_names_with_a_side_forbid_flips_unless_they_are_paired():
    data = dataset(*discs(24), names=("Left kidney", "right kidney"))
    assert values(data_rules.choose_flips, data)["augment.hflip"] == 0
    pairs = (("Left kidney", "right kidney"),)
    chosen = values(data_rules.choose_flips, data, data__labels__mirror_pairs=pairs)
    assert chosen["augment.hflip"] == 0.5
    bright = dataset(*discs(24), names=("ground", "bright thing"))  # not the word right
    assert values(data_rules.choose_flips, bright)["augment.hflip"] == 0.5


def test_thin_classes_are_not_resampled():
    line = label(64, 64, np.s_[30:32])
    assert values(data_rules.choose_geometry, dataset(line))["augment.scale"] == (1.0, 1.0)
    block = label(64, 64, np.s_[20:44])
    assert values(data_rules.choose_geometry, dataset(block))["augment.rotation"] == 15.0


@pytest.mark.parametrize(
    ("side", "crop", "expected"), [(8, 64, 0.5), (8, 180, 0.0), (100, 64, 0.0)]
)
def test_crops_around_rare_classes_in_large_images(side, crop, expected):
    data = dataset(label(200, 200, np.s_[:side, :side]))
    chosen = values(data_rules.choose_sampling, data, augment__crop=(crop, crop))
    assert chosen == {"data.sampling.class_crop": expected}


def test_grey_images_have_one_channel_and_their_own_normalisation():
    image = np.full((8, 8, 3), 51, np.uint8)
    image[:4] = 153
    data = dataset(np.zeros((8, 8), np.uint8), image=image)
    assert values(data_rules.choose_channels, data) == {"data.channels": "L"}
    pretrained = {"model__init_from": "package://mobilenet_v2"}
    assert values(data_rules.choose_channels, data, **pretrained) == {}
    assert values(data_rules.choose_normalisation, data, **pretrained) == {}
    chosen = values(data_rules.choose_normalisation, data, data__channels="L")
    assert chosen == {"data.mean": (0.4,), "data.std": (0.2,)}


def test_small_datasets_are_kept_in_memory():
    data = dataset(np.zeros((8, 8), np.uint8))
    assert values(data_rules.choose_cache, data) == {"data.loading.cache": "host"}
    assert values(data_rules.choose_cache, data, data__loading__workers=2) == {}
