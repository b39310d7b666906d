import contextlib
import itertools
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

import fcnjax
from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.loading import pipeline
from fcnjax.data.loading.canvas import canvas_size
from fcnjax.data.loading.eval_batches import eval_batches, plan_eval_batches
from fcnjax.errors import UserError


class Numbered:
    """Examples of given sizes; pixel (y, x) of example i is (i, y, x)."""

    class_names = ("a", "b")

    def __init__(self, sizes, dtype=np.uint8):
        self.sizes, self.dtype = sizes, dtype

    def __len__(self):
        return len(self.sizes)

    def size(self, index):
        return self.sizes[index]

    def __getitem__(self, index):
        ys, xs = np.indices(self.sizes[index])
        image = np.stack([np.full_like(ys, index), ys, xs], -1).astype(self.dtype)
        return {"image": image, "label": (xs % 2).astype(np.uint8), "name": str(index)}


def make_config(batch_size=4, crop=(16, 20), scale=(1.0, 1.0), rotation=0.0, **data):
    config = default_config()
    config.train.batch_size = batch_size
    config.augment.update({"crop": crop, "scale": scale, "rotation": rotation})
    set_data(config, data)
    return config


def take(count, batches):
    with contextlib.closing(batches):
        return list(itertools.islice(batches, count))


def assert_same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert one[key].dtype == other[key].dtype
            np.testing.assert_array_equal(one[key], other[key])


def indexed(length, config, start, **place):
    """Return the batches of a dataset on the device with images of 30x40."""
    labels, extents = np.zeros((length, 30, 40), np.uint8), np.full((length, 2), (30, 40))
    return pipeline.index_batches(range(length), config, start, labels, extents, **place)


def rows_of(count, length, **options):
    config = make_config(**options)
    return np.concatenate([b["row"] for b in take(count, indexed(length, config, 0))])


def test_each_epoch_has_its_own_permutation():
    epochs = rows_of(50, 10, batch_size=4).reshape(20, 10)
    assert (np.sort(epochs, -1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 20


def test_adjacent_seeds_share_no_epoch():
    config = make_config()
    seen = []
    for config.train.seed in (0, 1):
        batches = take(25, indexed(10, config, 0))
        seen.append({tuple(e) for e in np.concatenate([b["row"] for b in batches]).reshape(-1, 10)})
    assert not seen[0] & seen[1]


@pytest.mark.parametrize("start", [1, 7])
def test_start_equals_skipping(start):
    source, config = Numbered([(30, 40)] * 5), make_config()
    whole = take(start + 2, pipeline.train_batches(source, config, 0))
    assert_same(whole[start:], take(2, pipeline.train_batches(source, config, start)))
    rows = take(start + 2, indexed(5, config, 0))
    assert_same(rows[start:], take(2, indexed(5, config, start)))


def test_start_far_ahead_is_immediate():
    since = time.perf_counter()
    take(1, pipeline.train_batches(Numbered([(30, 40)] * 5), make_config(), 10**9))
    assert time.perf_counter() - since < 5


def test_index_batches_have_the_same_order_and_crops():
    source, config = Numbered([(30, 40)] * 5), make_config(rotation=20.0)
    images = take(6, pipeline.train_batches(source, config, 0))
    rows = take(6, indexed(5, config, 0))
    for image, row in zip(images, rows, strict=True):
        middle = tuple(side // 2 for side in image["label"].shape[1:])
        np.testing.assert_array_equal(image["image"][:, *middle, 0], row["row"])
        np.testing.assert_array_equal(image["image"][:, *middle, 1:], row["corner"] + middle)
        np.testing.assert_array_equal(image["bounds"], row["bounds"])
        assert image["valid"].all()
        assert row["valid"].all()
        assert row["row"].dtype == np.int32


def test_processes_share_the_global_batch():
    source, config = Numbered([(30, 40)] * 7), make_config(batch_size=6)
    whole = take(3, pipeline.train_batches(source, config, 2))
    for make, expected in (
        (lambda **place: pipeline.train_batches(source, config, 2, **place), whole),
        (
            lambda **place: indexed(7, config, 2, **place),
            take(3, indexed(7, config, 2)),
        ),
    ):
        parts = [take(3, make(process_index=i, process_count=3)) for i in range(3)]
        together = [
            {key: np.concatenate([part[n][key] for part in parts]) for key in expected[n]}
            for n in range(3)
        ]
        assert_same(expected, together)
    with pytest.raises(UserError, match=r"config\.train\.batch_size: 6 is not divisible by 4"):
        take(1, pipeline.train_batches(source, config, 0, 0, 4))


def test_crops_are_random_and_inside_the_image():
    batches = take(30, pipeline.train_batches(Numbered([(30, 40)] * 3), make_config(), 0))
    images = np.concatenate([batch["image"] for batch in batches])
    corners = images[:, 0, 0, 1:]
    assert corners.min(0).tolist() == [0, 0]
    assert corners.max(0).tolist() == [30 - 16, 40 - 20]
    assert len({tuple(corner) for corner in corners}) > 60
    ys = np.arange(16)[None, :, None] + corners[:, 0, None, None]
    assert (images[..., 1] == ys).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_small_image_is_centred_in_ignored_pixels(dtype):
    config = make_config()
    batch = take(1, pipeline.train_batches(Numbered([(10, 30)], dtype), config, 0))[0]
    assert (batch["bounds"] == (3, 0, 13, 20)).all()
    assert batch["image"].dtype == dtype
    for image, label in zip(batch["image"], batch["label"], strict=True):
        assert (label[:3] == 255).all()
        assert (label[13:] == 255).all()
        assert (label[3:13] < 2).all()
        np.testing.assert_array_equal(image[3:13, 0, 1], np.arange(10))


@pytest.mark.parametrize("crop", [(16, 20), (17, 20), (33, 7)])
@pytest.mark.parametrize("rotation", [0.0, 10.0, 30.0, 45.0, 90.0, 180.0])
@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.5, 2.0), (1.2, 1.5)])
def test_canvas_never_cuts_a_crop(crop, rotation, scale):
    config = make_config(crop=crop, rotation=rotation, scale=scale)
    canvas = canvas_size(config.augment)
    height, width = (side - 1 for side in crop)
    for side, length in zip(canvas, crop, strict=True):
        assert side >= length
        assert (side - length) % 2 == 0  # the same centre
    for degrees in np.linspace(-rotation, rotation, 61):
        cos, sin = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
        # The outermost pixels and, unless nothing is rotated or scaled, their neighbours.
        assert (height * cos + width * sin) / scale[0] <= canvas[0] - 1
        assert (width * cos + height * sin) / scale[0] <= canvas[1] - 1
    if rotation == 0 and scale == (1.0, 1.0):
        assert canvas == crop


def test_canvas_is_not_wasteful():
    config = make_config(crop=(96, 96), rotation=180.0, scale=(0.75, 1.0))
    assert canvas_size(config.augment) == (184, 184)  # 96 * sqrt(2) / 0.75 + 2 = 183.02
    config.augment.update({"rotation": 0.0, "scale": (0.5, 1.0)})
    assert canvas_size(config.augment) == (194, 194)


def test_source_of_two_pixel_types_raises():
    class Mixed(Numbered):
        def __getitem__(self, index):
            example = super().__getitem__(index)
            return {**example, "image": example["image"].astype((np.uint8, np.uint16)[index % 2])}

    source, config = Mixed([(30, 40)] * 8), make_config(batch_size=8)
    for read in (
        lambda: take(1, pipeline.train_batches(source, config, 0)),
        lambda: pipeline.load_all(source),
        lambda: take(1, eval_batches(source, config)),
    ):
        with pytest.raises(UserError, match="mixes uint16 and uint8 images"):
            read()


def test_load_all():
    whole = pipeline.load_all(Numbered([(4, 9), (6, 5)]))
    assert whole["image"].shape == (2, 6, 9, 3)
    assert whole["extent"].tolist() == [[4, 9], [6, 5]]
    assert whole["extent"].dtype == np.int32
    assert whole["label"].dtype == np.uint8
    for row, (height, width) in enumerate(whole["extent"]):
        inside = np.zeros((6, 9), bool)
        inside[:height, :width] = True
        assert ((whole["label"][row] == 255) == ~inside).all()
        assert (whole["image"][row, ..., 0] == np.where(inside, row, 0)).all()


def eval_config(batch_size, bucket):
    config = default_config()
    config.eval.update({"batch_size": batch_size, "bucket": bucket})
    return config


def index_of(batch):
    return batch["index"][batch["valid"]]


SIZES = [(30, 40), (31, 33), (64, 64), (65, 10), (30, 40), (2, 2), (64, 33), (33, 64), (32, 64)]


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_eval_batches_have_each_example_once(batch_size):
    source, config = Numbered(SIZES), eval_config(batch_size, 32)
    batches = take(99, eval_batches(source, config))
    assert len(batches) == len(plan_eval_batches(source, config))
    index = np.concatenate([batch["index"] for batch in batches])
    valid = np.concatenate([batch["valid"] for batch in batches])
    assert sorted(index[valid]) == list(range(len(SIZES)))
    assert (index[~valid] == -1).all()
    for batch in batches:
        assert batch["image"].shape[0] == batch_size
        assert not any(side % 32 for side in batch["image"].shape[1:3])
        assert batch["valid"][0]
        assert batch["index"].dtype == np.int32
        exact = all(SIZES[number] == batch["image"].shape[1:3] for number in index_of(batch))
        assert ("extent" in batch) != exact
        for row in np.flatnonzero(batch["valid"]):
            number = batch["index"][row]
            height, width = SIZES[number]
            if not exact:
                assert batch["extent"][row].tolist() == [height, width]
            # No larger than necessary.
            assert batch["image"].shape[1] - height < 32
            assert batch["image"].shape[2] - width < 32
            example = source[number]
            image, label = batch["image"][row], batch["label"][row]
            np.testing.assert_array_equal(image[:height, :width], example["image"])
            np.testing.assert_array_equal(label[:height, :width], example["label"])
            assert (label == 255).sum() == label.size - height * width
        assert (batch["label"][~batch["valid"]] == 255).all()


def test_processes_share_the_eval_batches():
    source, config = Numbered(SIZES), eval_config(4, 32)
    whole = take(99, eval_batches(source, config))
    parts = [take(99, eval_batches(source, config, i, 2)) for i in range(2)]
    together = [
        {key: np.concatenate([one[key], two[key]]) for key in one}
        for one, two in zip(*parts, strict=True)
    ]
    assert_same(whole, together)
    with pytest.raises(UserError, match=r"config\.eval\.batch_size: 4 is not divisible by 3"):
        take(1, eval_batches(source, config, 0, 3))


@pytest.fixture(scope="module")
def opened(shapes):
    """Return the train split of synthetic images, and its config."""
    config = make_config(root=str(shapes), rotation=20.0, scale=(0.8, 1.2))
    config, _ = resolve(config)
    return open_source(config, "train"), config


@pytest.fixture(scope="module")
def without_workers(opened):
    return take(4, pipeline.train_batches(*opened, 3))


@pytest.mark.parametrize(
    "workers", [2, *(pytest.param(count, marks=pytest.mark.slow) for count in (1, 4))]
)
def test_batches_do_not_depend_on_workers(opened, without_workers, workers):
    source, config = opened
    config = config.copy_and_resolve_references()
    config.data.loading.workers = workers
    assert_same(without_workers, take(4, pipeline.train_batches(source, config, 3)))
    assert multiprocessing.active_children() == []


def test_worker_error_is_a_user_error(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for stem in "ab":
            Image.fromarray(np.zeros((20, 20), np.uint8)).save(tmp_path / folder / f"{stem}.png")
    config = make_config(root=str(tmp_path), mask_values=(0, 1), workers=1)
    config, _ = resolve(config)
    source = open_source(config, "train")
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"\.png: cannot be read as an image: \w.*") as raised:
        take(9, pipeline.train_batches(source, config, 0))
    assert "\n" not in str(raised.value)


ORPHANS = """
import pickle, sys, time
from fcnjax.data.loading import pipeline
if __name__ == "__main__":
    source, config = pickle.loads(open(sys.argv[1], "rb").read())
    config.data.loading.workers = 2
    batches = pipeline.train_batches(source, config, 0)
    next(batches)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_exit_when_their_parent_is_killed(opened, tmp_path):
    (tmp_path / "orphans.py").write_text(ORPHANS)
    (tmp_path / "opened").write_bytes(pickle.dumps(opened))
    parent = subprocess.Popen(
        [sys.executable, tmp_path / "orphans.py", tmp_path / "opened"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(fcnjax.__file__).parent.parent)},
        start_new_session=True,
    )
    with parent:
        assert parent.stdout.readline() == b"ready\n"
        assert len(in_session(parent.pid)) >= 3
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while in_session(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert in_session(parent.pid) == []


def in_session(session):
    """Return the process ids of a session that are not zombies."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The fields after the name in brackets are state, parent, group, session.
            state, _, _, number = file.read_text().rpartition(")")[2].split()[:4]
            if int(number) == session and state != "Z":
                found.append(file.parent.name)
    return found
