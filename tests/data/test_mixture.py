import collections

import jax
import numpy as np
import pytest
from data_keys import set_data

from fcnjax import data
from fcnjax.augment import augment_batch
from fcnjax.config import default_config
from fcnjax.data.loading import pipeline
from fcnjax.data.source import PERIOD, Mixture, draw_pattern
from fcnjax.errors import UserError


class Tagged:
    class_names = ("a", "b")

    def __init__(self, tag, count):
        self.tag, self.count = tag, count

    def __len__(self):
        return self.count

    def size(self, index):
        return (4, 6)

    def __getitem__(self, index):
        return {
            "image": np.full((4, 6, 3), 10 * self.tag + index, np.uint8),
            "label": np.zeros((4, 6), np.uint8),
            "name": f"{self.tag}-{index}",
        }


def rows_of(source, count, start=0, seed=0):
    config = default_config()
    config.train.update({"batch_size": 1, "seed": seed})
    labels, extents = np.zeros((len(source), 4, 6), np.uint8), np.full((len(source), 2), (4, 6))
    batches = pipeline.index_batches(source, config, start, labels, extents)
    return [int(next(batches)["row"][0]) for _ in range(count)]


def test_sources_are_drawn_by_weight_without_repetition_in_an_epoch():
    mixture = Mixture([Tagged(0, 5), Tagged(1, 3), Tagged(2, 7)], (2, 1, 1))
    assert len(mixture) == 15
    rows = rows_of(mixture, 400)
    names = [mixture[row]["name"] for row in rows]
    assert collections.Counter(name[0] for name in names) == {"0": 200, "1": 100, "2": 100}
    # Evenly in every prefix too.
    assert collections.Counter(name[0] for name in names[:20]) == {"0": 10, "1": 5, "2": 5}
    for tag, count in (("0", 5), ("1", 3), ("2", 7)):
        own = [name for name in names if name[0] == tag]
        for start in range(0, len(own) - count, count):
            assert len(set(own[start : start + count])) == count
    assert rows == rows_of(mixture, 400)
    assert rows != rows_of(mixture, 400, seed=1)
    assert rows[137:] == rows_of(mixture, 400 - 137, start=137)


def test_pattern_continues_after_its_period():
    mixture = Mixture([Tagged(0, 5), Tagged(1, 3)], (3, 1))
    rows = rows_of(mixture, PERIOD + 40)
    drawn = collections.Counter(row < 5 for row in rows)
    assert drawn == {True: (PERIOD + 40) * 3 // 4, False: (PERIOD + 40) // 4}
    own = [row for row in rows if row >= 5]
    assert all(len(set(own[i : i + 3])) == 3 for i in range(0, len(own) - 3, 3))


def test_draw_pattern_of_equal_weights():
    numbers, earlier_draws = draw_pattern((1, 1))
    assert numbers[:4].tolist() == [0, 1, 0, 1]
    assert earlier_draws[:4].tolist() == [0, 0, 1, 1]
    with pytest.raises(UserError, match="weights"):
        Mixture([Tagged(0, 1), Tagged(1, 1)], (1, 0))


def test_mixture_of_one_source_keeps_its_order():
    alone, mixed = Tagged(0, 5), Mixture([Tagged(0, 5)], (1,))
    assert rows_of(alone, 12) == rows_of(mixed, 12)


def test_config_mixes_datasets_of_equal_classes(tmp_path, make_folder):
    roots = [make_folder(tmp_path / name, count=n) for name, n in (("one", 5), ("two", 10))]
    config = default_config()
    config.data.root = str(roots[0])
    config.data.sampling.mix = ((f"folder:root={roots[1]}", 3.0),)
    config, _ = data.resolve(config)
    source = data.open_source(config, "train")
    assert len(source) == 4 + 8
    rows = rows_of(source, 40)
    assert sum(row < 4 for row in rows) == 10
    assert len(data.open_source(config, "eval")) == 1
    for mix, words in (
        ((("folder:root=nowhere", 1.0),), "config.data.root"),
        (("folder",), "pairs of a config and its weight"),
        (
            ((f"folder:root={make_folder(tmp_path / 'bw', 4, values=(0, 1, 1))}", 1.0),),
            "class_names",
        ),
    ):
        config.data.sampling.mix = mix
        with pytest.raises(UserError, match=words):
            data.open_source(data.resolve(config)[0], "train")


def corner_config(**keys):
    config = default_config()
    config.augment.crop = (8, 8)
    config.augment.hflip = 0.0
    set_data(config, keys)
    config.train.batch_size = 4
    return config


class Rare(Tagged):
    """Return a 64x64 label with one pixel of class 2, some of class 1 and some ignored."""

    def size(self, index):
        return (64, 64)

    def __getitem__(self, index):
        label = np.zeros((64, 64), np.uint8)
        label[5, 50] = 2
        label[40:44, 10:14] = 1
        label[:, :3] = 255
        return {"image": np.zeros((64, 64, 3), np.uint8), "label": label, "name": "rare"}


def classes_seen(config, batches=40):
    seen = collections.Counter()
    stream = pipeline.train_batches(Rare(0, 3), config, 0)
    for _ in range(batches):
        for label in next(stream)["label"]:
            seen.update(np.unique(label).tolist())
    stream.close()
    return {key: count / (4 * batches) for key, count in seen.items()}


def test_class_crops_contain_rare_classes():
    plain, by_class, foreground = (
        classes_seen(corner_config(**keys))
        for keys in ({}, {"class_crop": 1.0}, {"foreground_crop": 1.0})
    )
    assert plain.get(2, 0) < 0.1
    assert 0.2 < by_class[2] < 0.5  # a third of the draws
    assert 0.2 < by_class[1] < 0.5
    # One of seventeen pixels of the foreground is of class 2.
    assert foreground[1] + foreground.get(2, 0) >= 1
    assert foreground.get(2, 0) < 0.25


def test_class_crops_do_not_depend_on_the_start():
    config = corner_config(class_crop=0.5, foreground_crop=0.3)

    def batches(start, count):
        stream = pipeline.train_batches(Rare(0, 3), config, start)
        labels = [next(stream)["label"] for _ in range(count)]
        stream.close()
        return labels

    np.testing.assert_array_equal(batches(0, 6)[3:], batches(3, 3))


def test_crop_probabilities_are_checked(shapes, tmp_path, tiny_options, capsys):
    from fcnjax import cli

    argv = ["train", f"--config=folder:root={shapes}", f"--workdir={tmp_path / 'run'}"]
    for option, words in (
        ("--config.data.sampling.class_crop=1.5", "1.5 is not in 0..1"),
        ("--config.data.loading.cache=ram", "config.data.loading.cache: unknown 'ram'"),
    ):
        assert cli.main([*argv, *tiny_options, option]) == 2
        assert words in capsys.readouterr().err


def test_class_crops_with_device_cache():
    """The host draws the position; the crop equals that of the host."""
    config = corner_config(class_crop=0.6, foreground_crop=0.2)
    whole = pipeline.load_all(Rare(0, 3), 255)
    batches = pipeline.index_batches(Rare(0, 3), config, 0, whole["label"], whole["extent"])
    stream = pipeline.train_batches(Rare(0, 3), config, 0)
    augment = jax.jit(lambda key, i, la, p: augment_batch(key, i, la, config, **p))
    for _ in range(5):
        indexed, cropped = next(batches), next(stream)
        places = {"rows": indexed["row"], "corners": indexed["corner"], "bounds": indexed["bounds"]}
        _, labels = augment(jax.random.key(0), whole["image"], whole["label"], places)
        np.testing.assert_array_equal(labels, cropped["label"])
    stream.close()
