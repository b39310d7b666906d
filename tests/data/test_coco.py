import contextlib
import itertools
import json
import mmap
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error
from PIL import Image
from stamped import assert_stamped

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.annotations import annotated
from fcnjax.data.annotations.shared_index import SharedIndex, open_shared
from fcnjax.data.loading import pipeline
from fcnjax.data.sources.annotation_tools import coco

SIZE = (6, 8)
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 0, "name": "dog"}, {"id": 90, "name": "cow"}]


def box(left, top, right, bottom):
    """Return a polygon that covers the pixels from left, top up to right, bottom (exclusive)."""
    return [left, top, right, top, right, bottom, left, bottom]


def runs(mask):
    """Return the uncompressed run lengths of a mask in column order, starting with 0."""
    flat = mask.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *ends, flat.size]).tolist()
    return {"size": list(mask.shape), "counts": counts if not flat[0] else [0, *counts]}


def compress(counts):
    """Encode run lengths as COCO's compressed text, implemented from its description."""
    text = []
    for place, count in enumerate(counts):
        value = count - counts[place - 2] if place > 2 else count
        while True:
            group, value = value & 31, value >> 5
            more = value != (-1 if group & 16 else 0)
            text.append(chr(48 + group + 32 * more))
            if not more:
                break
    return "".join(text)


def region(category, segmentation, image=1, **more):
    return {"image_id": image, "category_id": category, "segmentation": segmentation, **more}


def write(root, annotations, split="train", count=3, **content):
    """Write images 1, 2, ... of a split in a folder of its name, and its annotations."""
    (root / split).mkdir(parents=True, exist_ok=True)
    images = []
    for number in range(1, count + 1):
        images.append({"id": number, "file_name": f"{number}.png", "height": 6, "width": 8})
        image = np.full((*SIZE, 3), number, np.uint8)
        Image.fromarray(image).save(root / split / f"{number}.png")
    content = {
        "images": images,
        "categories": CATEGORIES,
        "annotations": annotations,
        **content,
    }
    (root / f"{split}.json").write_text(json.dumps(content, indent=1))
    return root


def both(root, annotations, **more):
    write(root, annotations, **more)
    return write(root, [region(7, [box(0, 0, 3, 3)])], "val", count=2)


def config_of(root, **data):
    config = default_config()
    set_data(config, source="coco", root=str(root), annotations="{split}.json", images="{split}")
    set_data(config, data)
    return config


def label_of(root, index=0, **data):
    config, _ = resolve(config_of(root, **data))
    return open_source(config, "train")[index]["label"]


def test_smaller_objects_are_drawn_over_larger_ones(tmp_path):
    both(
        tmp_path,
        [
            region(0, [box(2, 2, 4, 4)], area=1e9),  # the areas in the file are not used
            region(7, [box(0, 0, 6, 5)], area=1),
            region(90, [box(5, 4, 8, 6), box(7, 0, 8, 1)]),
        ],
    )
    expected = np.zeros(SIZE, np.uint8)
    expected[:5, :6] = 2
    expected[4:, 5:] = expected[0, 7] = 3
    expected[2:4, 2:4] = 1
    config, notes = resolve(config_of(tmp_path))
    assert notes == [
        f"{tmp_path}: 3 images to train on, 2 held out",
        f"{tmp_path}/train.json: 2 of 3 images have no shape, and are background as a whole",
        f"{tmp_path}/val.json: 1 of 2 images have no shape, and are background as a whole",
    ]
    assert config.data.class_names == ("background", "dog", "cat", "cow")
    source = open_source(config, "train")
    example = source[0]
    np.testing.assert_array_equal(example["label"], expected)
    assert example["label"].dtype == np.uint8
    assert example["image"][0, 0].tolist() == [1, 1, 1]
    assert example["name"] == "1"
    assert not source[1]["label"].any()
    assert source.size(1) == SIZE
    assert resolve(config)[0] == config


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths(tmp_path, compressed):
    mask = np.random.default_rng(0).random(SIZE) < 0.4
    segmentation = runs(mask)
    if compressed:
        segmentation["counts"] = compress(segmentation["counts"])
    both(tmp_path, [region(90, segmentation)])
    np.testing.assert_array_equal(label_of(tmp_path), np.where(mask, 3, 0))


def test_crowds_are_ignored_outside_objects(tmp_path):
    crowd = np.zeros(SIZE, bool)
    crowd[:4, :4] = True
    objects = [
        region(7, [box(3, 3, 5, 5)]),
        region(0, runs(crowd), iscrowd=1),
    ]
    expected = np.zeros(SIZE, int)
    expected[:4, :4] = 200
    expected[3:5, 3:5] = 2
    both(tmp_path, objects)
    np.testing.assert_array_equal(label_of(tmp_path, ignore_label=200, crowd="ignore"), expected)
    # A crowd of a category that is no class is background, as its objects are.
    np.testing.assert_array_equal(label_of(tmp_path, class_names=("cat",)), expected == 2)


def test_polygons_are_clipped_at_the_border(tmp_path):
    expected = np.zeros(SIZE, int)
    expected[:3, :2] = expected[4:, 6:] = 2
    both(tmp_path, [region(7, [box(-9, -4, 2, 3)]), region(7, [box(6, 4, 30, 99)])])
    np.testing.assert_array_equal(label_of(tmp_path), expected)


def test_annotations_without_area_are_left_out(tmp_path):
    annotations = [
        region(7, []),
        region(7, [[1, 1, 4, 4]]),  # two points, which pycocotools reads as a box
        region(7, [box(0, 0, 2, 2), [1, 1, 4, 4]]),
        region(0, [box(4, 4, 6, 6)], image=99),  # of an image that the file does not list
    ]
    expected = np.zeros(SIZE, int)
    expected[:2, :2] = 2
    np.testing.assert_array_equal(label_of(both(tmp_path, annotations)), expected)


def test_chosen_and_merged_classes(tmp_path):
    both(
        tmp_path,
        [
            region(7, [box(0, 0, 2, 2)]),
            region(0, [box(2, 0, 4, 2)]),
            region(90, [box(4, 0, 6, 2)]),
        ],
    )
    row = label_of(tmp_path, class_names=("cow", "cat"))[0]
    assert row.tolist() == [2, 2, 0, 0, 1, 1, 0, 0]
    config, _ = resolve(config_of(tmp_path, class_names=("cow", "cat")))
    assert config.data.class_names == ("background", "cow", "cat")
    merged = (("dog", "pet"), ("cat", "pet"), ("cow", ""))
    row = label_of(tmp_path, label_map=merged)[0]
    assert row.tolist() == [1, 1, 1, 1, 255, 255, 0, 0]
    assert_error(
        config_of(tmp_path, class_names=("cat", "cwo")), "class_names", "did you mean 'cow'"
    )


def test_classes_are_matched_by_name_not_by_id(tmp_path):
    write(tmp_path, [region(7, [box(0, 0, 2, 2)])])
    swapped = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    write(tmp_path, [region(2, [box(0, 0, 2, 2)])], "val", categories=swapped)
    config, _ = resolve(config_of(tmp_path))
    assert open_source(config, "train")[0]["label"][0, 0] == 2
    assert open_source(config, "eval")[0]["label"][0, 0] == 1


def test_single_file_is_split_by_fraction(tmp_path):
    write(tmp_path, [region(7, [box(0, 0, 2, 2)], image=4)], count=5)
    config, notes = resolve(config_of(tmp_path, annotations="train.json", images="train"))
    assert notes[0] == f"{tmp_path}: 4 images to train on, 1 held out"
    parts = [open_source(config, part) for part in ("train", "eval")]
    seen = [example["name"] for source in parts for example in map(source.__getitem__, range(1))]
    assert len(set(seen)) == 2
    labels = {s[i]["name"]: s[i]["label"].sum() for s in parts for i in range(len(s))}
    assert labels == {"1": 0, "2": 0, "3": 0, "4": 8, "5": 0}


def read_copy(root, monkeypatch):
    """Pickle a source, read examples of the copy, and return the files that it parses for that."""
    both(root, [region(7, [box(0, 0, 2, 2)])] * 300)
    source = open_source(resolve(config_of(root))[0], "train")
    expected = source[0]["label"]
    stored = pickle.dumps(source)
    assert len(stored) < 3000
    reads = []
    monkeypatch.setattr(coco, "read_text", lambda path: reads.append(path) or path.read_text())
    annotated._parsed.cache_clear()
    # A copy of a copy, as a process could make one for another.
    for copy in (pickle.loads(stored), pickle.loads(pickle.dumps(pickle.loads(stored)))):
        for _ in range(3):
            np.testing.assert_array_equal(copy[0]["label"], expected)
            assert copy.size(2) == SIZE
    return reads


def test_pickles_are_small_and_parse_nothing(tmp_path, monkeypatch):
    assert read_copy(tmp_path, monkeypatch) == []


def test_copies_parse_once_where_nothing_can_be_shared(tmp_path, monkeypatch):
    def full(index):
        raise OSError

    monkeypatch.setattr(annotated, "SharedIndex", full)
    assert read_copy(tmp_path, monkeypatch) == [tmp_path / "train.json"]


def test_shared_regions_are_mapped_and_belong_to_their_token(tmp_path):
    both(tmp_path, [region(7, [box(0, 0, 2, 2)], image=number) for number in (1, 1, 3)])
    index = coco.parse(tmp_path / "train.json")
    shared = SharedIndex(index)
    found = open_shared(shared.handle)
    assert (found.names, found.sizes, len(found.regions)) == (index.names, index.sizes, 3)
    for one, other in zip(found.regions, index.regions, strict=True):
        assert [each[:3] for each in one] == [each[:3] for each in other]
    assert isinstance(found.regions._content.obj, mmap.mmap)  # in memory once for all processes
    assert open_shared(shared.handle._replace(token=bytes(16))) is None
    closed = shared.handle
    del shared
    assert open_shared(closed._replace(header=0)) is None
    reading, writing = os.pipe()
    assert open_shared(closed._replace(descriptor=reading, header=1)) is None
    os.close(reading)
    os.close(writing)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files are shared through /proc")
def test_workers_do_not_parse(tmp_path):
    both(tmp_path, [region(7, [box(0, 0, 2, 2)]), region(0, [box(3, 1, 5, 4)], image=2)])
    config = resolve(config_of(tmp_path))[0]
    config.train.batch_size, config.augment.crop = 2, SIZE
    source = open_source(config, "train")

    def batches(workers):
        config.data.loading.workers = workers
        with contextlib.closing(pipeline.train_batches(source, config, 0)) as stream:
            return list(itertools.islice(stream, 4))

    expected = batches(0)
    # A worker that parsed the file would raise an error.
    file = tmp_path / "train.json"
    changed = file.stat().st_mtime_ns
    file.write_text("damaged")
    os.utime(file, ns=(changed, changed))
    for one, other in zip(batches(2), expected, strict=True):
        for key in other:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        ([region(8, [box(0, 0, 2, 2)])], ["annotations[0]: has the category 8, which"]),
        ([{"image_id": 1}], ["train.json, annotations[0]: has no 'category_id'"]),
        ([[]], ["annotations[0]: is not an object"]),
        ([region(7, [[0, 0, 3, 0, 3]])], ["annotations[0]: a polygon is not a list of x, y"]),
        ([region(7, [["a", 0, 3, 0, 3, 3]])], ["annotations[0]: a polygon cannot be used"]),
        ([region(7, [box(0, 0, 1e9, 2)])], ["annotations[0]: a polygon cannot be used"]),
        ([region(7, "none")], ["'segmentation' is 'none'; valid: a list or an object"]),
        ([region(7, {"size": [6, 8]})], ["annotations[0]: has no 'counts'"]),
        ([region(7, {"size": [8, 6], "counts": [48]})], ["is of size [8, 6], and its image [6, 8"]),
        (
            [region(7, {"size": [6, 8], "counts": [40]})],
            ["cannot be drawn: the run lengths sum to 40, not 48"],
        ),
        (
            [region(7, {"size": [6, 8], "counts": "zz!"})],
            ["annotations[0]: cannot be drawn: the run lengths have a character"],
        ),
        ([region(7, {"size": [6, 8], "counts": [-2, 50]})], ["a run length is below 0"]),
        ([region(7, [])], ["train.json: none of its 1 annotations can be drawn"]),
    ],
)
def test_bad_annotations(tmp_path, annotations, words):
    assert_error(config_of(both(tmp_path, annotations)), *words)


def test_bad_files(tmp_path):
    both(tmp_path, [])
    text = (tmp_path / "train.json").read_text()
    (tmp_path / "train.json").write_text(text.replace('"file_name": "1.png",', '"file_name" 1,'))
    assert_error(config_of(tmp_path), "train.json, line ", "is not JSON: Expecting ':'")
    both(tmp_path, [], categories=[*CATEGORIES, {"id": 7, "name": "yak"}])
    assert_error(config_of(tmp_path), "categories[3]: has the id 7 of another category, 'cat'")
    both(tmp_path, [], images={})
    assert_error(config_of(tmp_path), "train.json: 'images' is '{}'; valid: a list")
    both(tmp_path, [], images=[])
    assert_error(config_of(tmp_path), "train.json: lists no image")
    both(tmp_path, [], images=[{"id": 1, "file_name": "1.png", "height": 8, "width": 6}])
    assert_error(config_of(tmp_path), "train.json: is 6x8 pixels", "train/1.png is 8x6")
    both(tmp_path, [])
    (tmp_path / "train" / "2.png").unlink()
    assert_error(config_of(tmp_path), "train.json: no such file", "train/2.png")


def test_bad_settings(tmp_path):
    both(tmp_path, [])
    assert_error(
        config_of(tmp_path, annotations=""), "annotations: names no file", "{split}2017.json"
    )
    assert_error(config_of(tmp_path, split_eval="test"), "test: no such folder; config.data.images")
    (tmp_path / "test").mkdir()
    assert_error(config_of(tmp_path, split_eval="test"), "test.json: no such file")
    assert_error(config_of(tmp_path / "no"), "config.data.root", "is not a folder")


def test_changed_files_are_detected(tmp_path):
    both(tmp_path, [region(7, [box(0, 0, 3, 3)])])
    assert_stamped(config_of(tmp_path), tmp_path / "train.json", tmp_path / "train/2.png")
