"""COCO files as written by CVAT, Roboflow, Label Studio and coco-annotator."""

import json

import numpy as np
import pytest
from annotation_files import config_of, examples, labels, picture, write_json
from PIL import Image

from fcnjax.data import open_stored, resolve
from fcnjax.errors import UserError
from fcnjax.validate import check

CATEGORIES = [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 2, "name": "dog"}]


def box(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(image, category, left=1, top=1, **more):
    """Return an object of 3x2 pixels."""
    polygon = box(left, top, left + 3, top + 2)
    entry = {"image_id": image, "category_id": category, "iscrowd": 0, "segmentation": [polygon]}
    return {**entry, "bbox": [left, top, 3, 2], "area": 6, **more}


def square(left=1, top=1):
    expected = np.zeros((8, 10), int)
    expected[top : top + 2, left : left + 3] = 1
    return expected


def runs(mask):
    counts, last = [0], 0
    for value in mask.T.ravel().astype(int):
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def write(root, annotations, folder="images", file="annotations.json", names=("a", "b"), **content):
    """Write a file of annotations for the images 1, 2, ..."""
    images = []
    for number, name in enumerate(names, start=1):
        picture(root / folder / f"{name}.png")
        images.append({"id": number, "file_name": f"{name}.png", "height": 8, "width": 10})
    content = {
        "images": images,
        "categories": CATEGORIES,
        "annotations": annotations,
        **content,
    }
    write_json(root / file, content)
    return config_of("coco", root, annotations=file)


def assert_error(config, *words):
    with pytest.raises(UserError) as raised:
        labels(config)
    for word in words:
        assert word in str(raised.value), str(raised.value)
    assert "\n" not in str(raised.value)


def brushed(category, **more):
    return annotation(1, category, segmentation=runs(square() > 0), iscrowd=1, **more)


def test_masks_painted_in_cvat_are_labels(tmp_path):
    config, notes, found = examples(write(tmp_path, [brushed(2), annotation(2, 1)]))
    np.testing.assert_array_equal(found["a"]["label"], 2 * square())
    assert config.data.coco.crowd == "object"
    assert notes[1:] == [
        "annotations with iscrowd=1 (1 of dog) are labels, as they are 50% of all; "
        "config.data.coco.crowd=ignore ignores them, as COCO means crowds"
    ]
    # The decision is stored.
    config, notes = resolve(config)
    assert config.data.coco.crowd == "object"
    config, notes, found = examples(
        write(tmp_path, [brushed(2), annotation(2, 1)]).copy_and_resolve_references()
    )
    config.data.coco.crowd = "ignore"
    np.testing.assert_array_equal(labels(config)["a"], 255 * square())


def test_few_crowds_are_ignored(tmp_path):
    entries = [brushed(2), *[annotation(2, 1) for _ in range(9)], brushed(1)]
    few, many = entries[:10], entries
    config, notes, found = examples(write(tmp_path, few))
    np.testing.assert_array_equal(found["a"]["label"], 255 * square())
    assert config.data.coco.crowd == "ignore"
    assert "iscrowd=1 (1 of dog) are ignored, as COCO means crowds" in notes[1]
    assert "config.data.coco.crowd=object makes them labels" in notes[1]
    assert resolve(write(tmp_path, many))[0].data.coco.crowd == "object"
    config = write(tmp_path, few)
    config.data.coco.crowd = "objects"
    assert_error(config, "config.data.coco.crowd: unknown 'objects' (did you mean 'object'?)")


def test_evaluation_of_another_dataset_requires_crowd(tmp_path):
    trained, _ = resolve(write(tmp_path / "train", [annotation(1, 2), annotation(2, 1)]))
    assert trained.data.coco.crowd is None
    write(tmp_path / "other", [brushed(2), annotation(2, 1)])
    trained.data.root = str(tmp_path / "other")
    with pytest.raises(UserError, match=r"config.data.coco.crowd: .* valid: ignore, .* or object"):
        open_stored(trained, "eval")
    trained.data.coco.crowd = "object"
    assert len(open_stored(trained, "train")) == 1


def test_data_check_reports_special_annotations(tmp_path):
    entries = [brushed(2), annotation(2, 1), annotation(1, 1, left=5, segmentation=[])]
    texts = [finding.text for finding in check(write(tmp_path, entries)).findings]
    assert any("iscrowd=1 (1 of dog)" in text for text in texts)
    assert any("boxes without a shape (1 of cat) are ignored" in text for text in texts)


@pytest.mark.parametrize("segmentation", [[], None, [[1, 1, 2, 2]], [[]]])
def test_boxes_without_a_shape(tmp_path, segmentation):
    shapeless = annotation(1, 1, segmentation=segmentation)
    entries = [shapeless, annotation(1, 2, left=3), annotation(2, 1)]
    config = write(tmp_path, entries)
    expected = 255 * square()
    expected[1:3, 3:6] = 2  # objects are drawn over the box
    _, notes, found = examples(config)
    np.testing.assert_array_equal(found["a"]["label"], expected)
    assert notes[1:] == [
        "boxes without a shape (1 of cat) are ignored; config.data.coco.boxes=object fills them"
    ]
    config.data.coco.boxes = "object"
    assert labels(config)["a"][1, 1] == 1
    del shapeless["segmentation"]
    np.testing.assert_array_equal(labels(write(tmp_path, entries))["a"], expected)
    config = write(tmp_path, [shapeless, {**shapeless, "image_id": 2}])
    assert_error(config, "has boxes only", "config.data.coco.boxes=object")
    config.data.coco.boxes = "object"
    np.testing.assert_array_equal(labels(config)["a"], square())


def test_left_out_annotations_are_counted_by_class(tmp_path):
    entries = [
        annotation(1, 1),
        annotation(1, 2, segmentation=[box(20, 1, 25, 5)]),
        annotation(1, 2, segmentation=[box(-9, 1, -3, 5)]),
        annotation(1, 2, segmentation=[], bbox=[1, 1, 0, 5]),
        annotation(77, 1),
        annotation(2, 2, segmentation=[[1, 1, 4, 4], box(1, 1, 4, 3)]),
    ]
    _, notes, found = examples(write(tmp_path, entries))
    np.testing.assert_array_equal(found["a"]["label"], square())
    np.testing.assert_array_equal(found["b"]["label"], 2 * square())
    file = tmp_path / "annotations.json"
    assert notes[1:] == [
        f"{file}: annotations outside their image (2 of dog): left out",
        f"{file}: annotations without a shape of any area (1 of dog): left out",
        f"{file}: annotations of images that the file does not list (1 of cat): left out",
    ]


def roboflow(root, used=(1,)):
    """Write a folder for each split with images and annotations, and a grouping category."""
    categories = [
        {"id": 0, "name": "objects-x1", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "objects-x1"},
        {"id": 2, "name": "dog", "supercategory": "objects-x1"},
    ]
    for split in ("train", "valid"):
        entries = [annotation(1, category) for category in used]
        file, names = f"{split}/_annotations.coco.json", [f"{split}_a", f"{split}_b"]
        write(root, entries, split, file, names, categories=categories, info={}, licenses=[])


def test_roboflow(tmp_path):
    roboflow(tmp_path)
    options = {"annotations": "{split}/_annotations.coco.json", "split.eval": "valid"}
    for images in ("{split}", "images"):
        config, notes, found = examples(config_of("coco", tmp_path, images=images, **options))
        assert config.data.class_names == ("background", "cat", "dog")
        assert notes[0].endswith("2 images to train on, 2 held out")
        assert "no annotation is of objects-x1, which groups others: no class" in notes[1]
        np.testing.assert_array_equal(found["train_a"]["label"], square())
        np.testing.assert_array_equal(found["valid_a"]["label"], square())
    options["class_names"] = ("objects-x1", "cat")
    config = config_of("coco", tmp_path, images="{split}", **options)
    assert resolve(config)[0].data.class_names == ("background", "objects-x1", "cat")
    assert_error(
        config_of("coco", tmp_path, annotations=options["annotations"]),
        "val/_annotations.coco.json: no such file",
        "there are files for the splits train, valid",
    )
    roboflow(tmp_path, used=(0, 1))
    config, notes = resolve(
        config_of("coco", tmp_path, annotations=options["annotations"], split_eval="valid")
    )
    assert config.data.class_names == ("background", "objects-x1", "cat", "dog")
    assert not any("groups others" in note for note in notes)


def test_numbers_may_be_floats_or_texts(tmp_path):
    images = [
        {"id": "1", "file_name": "a.png", "height": 8.0, "width": "10"},
        {"id": 2.0, "file_name": "b.png", "height": 0, "width": None},
    ]
    categories = [{"id": "1", "name": "cat"}, {"id": 2.0, "name": "dog"}]
    polygon = [str(value) for value in box(1, 1, 4, 3)]
    mask = {"size": [8.0, "10"], "counts": [float(n) for n in runs(square() > 0)["counts"]]}
    entries = [
        annotation(1.0, "2", segmentation=[polygon], iscrowd="0"),
        annotation("2", 1, segmentation=mask),
    ]
    for entry in entries:
        del entry["area"], entry["bbox"]
    del entries[1]["iscrowd"]
    found = labels(write(tmp_path, entries, images=images, categories=categories))
    np.testing.assert_array_equal(found["a"], 2 * square())
    np.testing.assert_array_equal(found["b"], square())


def test_ids_may_be_words(tmp_path):
    images = [{"id": name, "file_name": f"{name}.png", "height": 8, "width": 10} for name in "ab"]
    found = labels(write(tmp_path, [annotation("b", 2)], images=images))
    np.testing.assert_array_equal(found["b"], 2 * square())
    assert not found["a"].any()


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("images\\a.png", "images/a.png"),  # Label Studio on Windows
        ("images/a.png", "images/a.png"),
        ("sub\\a.png", "images/sub/a.png"),
        ("a.png", "a.png"),  # beside the annotations
        ("C:\\data\\x\\a.png", "images/a.png"),  # moved from another machine
        ("/datasets/x/a.png", None),
    ],
)
def test_image_names_with_other_folders_and_separators(tmp_path, name, at):
    config = write(tmp_path, [annotation(1, 1)])
    content = json.loads((tmp_path / "annotations.json").read_text())
    content["images"][0]["file_name"] = name
    write_json(tmp_path / "annotations.json", content)
    (tmp_path / "images/a.png").unlink()
    picture(tmp_path / (at or "images/a.png"), value=9)
    if at is None:
        assert_error(config, "'/datasets/x/a.png' is not a path inside")
        return
    _, _, found = examples(config)
    assert found["a"]["image"].max() == 9
    np.testing.assert_array_equal(found["a"]["label"], square())


def test_folders_of_cvat(tmp_path):
    """`images/SUBSET` beside `annotations/instances_SUBSET.json`, which is found by default."""
    write(tmp_path, [annotation(1, 1)], "images/default", "annotations/instances_default.json")
    np.testing.assert_array_equal(labels(config_of("coco", tmp_path))["a"], square())
    for subset in ("Train", "Val"):
        file, names = f"annotations/instances_{subset}.json", [f"{subset}_a", f"{subset}_b"]
        write(tmp_path, [annotation(1, 1)], f"images/{subset}", file, names)
    options = {"split.train": "Train", "split.eval": "Val"}
    config = config_of(
        "coco", tmp_path, annotations="annotations/instances_{split}.json", **options
    )
    assert sorted(labels(config)) == ["Train_a", "Train_b", "Val_a", "Val_b"]


def test_two_names_of_one_file_are_refused(tmp_path):
    config = write(tmp_path, [annotation(1, 1)], names=("a", "b"))
    content = json.loads((tmp_path / "annotations.json").read_text())
    content["images"][1]["file_name"] = "moved/a.png"
    write_json(tmp_path / "annotations.json", content)
    assert_error(config, "'a.png' and 'moved/a.png' both lead to the image")
    content["images"][1]["file_name"] = "a.png"
    write_json(tmp_path / "annotations.json", content)
    assert_error(config, "images[1]: lists 'a.png', which", "images[0] lists under another id")
    # An identical second entry is accepted.
    content["images"].append(content["images"][0])
    content["images"][1]["file_name"] = "b.png"
    write_json(tmp_path / "annotations.json", content)
    assert sorted(labels(config)) == ["a", "b"]


def test_symbolic_links_are_followed(tmp_path):
    config = write(tmp_path / "set", [annotation(1, 1)])
    image = tmp_path / "set/images/a.png"
    image.rename(tmp_path / "elsewhere.png")
    image.symlink_to(tmp_path / "elsewhere.png")
    np.testing.assert_array_equal(labels(config)["a"], square())


def test_missing_images_are_skipped_with_on_error(tmp_path):
    names = [f"n{i}" for i in range(12)]
    config = write(tmp_path, [annotation(1, 1)], names=names)
    (tmp_path / "images/n3.png").unlink()
    (tmp_path / "images/n7.png").unlink()
    assert_error(config, "no such file", "n3.png (nor 1 others)")
    config.data.loading.on_error, config.data.loading.skip_most = "skip", 0.5
    _, notes = resolve(config)
    assert "2 of 12 images are missing, as" in notes[1]
    for name in names:
        (tmp_path / f"images/{name}.png").unlink(missing_ok=True)
    assert_error(config, "no such file")


def test_categories_of_equal_names_are_one_class(tmp_path):
    categories = [*CATEGORIES, CATEGORIES[0], {"id": 9, "name": "cat"}]
    entries = [annotation(1, 9), annotation(2, 1)]
    config, notes, found = examples(write(tmp_path, entries, categories=categories))
    assert config.data.class_names == ("background", "cat", "dog")
    np.testing.assert_array_equal(found["a"]["label"], square())
    assert "2 categories have the name 'cat', and are one class" in notes[1]


def test_coco_annotator(tmp_path):
    mask = runs(square() > 0)
    entry = annotation(1, 1, segmentation=mask, isbbox=False, color="#f00", metadata={}, width=10)
    images = [
        {"id": i, "dataset_id": 1, "path": f"/datasets/x/{n}.png", "file_name": f"{n}.png"}
        for i, n in enumerate("ab", start=1)
    ]
    found = labels(write(tmp_path, [entry], images=images))
    np.testing.assert_array_equal(found["a"], square())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn_on", ["stored", "turned"])
def test_photographs_with_an_exif_orientation(tmp_path, orientation, drawn_on):
    config = write(tmp_path, [annotation(1, 1)])
    exif = Image.Exif()
    exif[0x112] = orientation
    size = (8, 10)
    stored = size if drawn_on == "stored" or orientation < 5 else size[::-1]
    pixels = np.zeros((*stored, 3), np.uint8)
    if drawn_on == "stored":
        pixels[1:3, 1:4] = 255
    picture(tmp_path / "images/a.png")
    Image.fromarray(pixels).save(tmp_path / "images/a.png", exif=exif)
    config.data.labels.mask_exif = drawn_on  # for images whose sizes do not decide
    example = examples(config)[2]["a"]
    if drawn_on == "stored":  # the label was rotated with its image
        np.testing.assert_array_equal(example["label"], example["image"][..., 0] // 255)
    else:
        np.testing.assert_array_equal(example["label"], square())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"image_id": 1, "segments_info": []}, "COCO's panoptic format"),
        (annotation(1, 1, iscrowd="x"), "'iscrowd' is 'x'; valid: 0, 1"),
        (annotation(1, 1, segmentation=[], bbox="1,2"), "'bbox' cannot be used"),
        (annotation(1, 1, segmentation=[], bbox=[1, 2]), "valid: left, top"),
        (annotation(1.5, 1), "'image_id' is '1.5'; valid: a whole number"),
        (annotation(None, 1), "'image_id' is 'None'; valid: "),
        (
            annotation(1, 1, segmentation={"size": [8], "counts": [80]}),
            "'size' is [8]; valid: height and width",
        ),
        (
            annotation(1, 1, segmentation={"size": [8, 10], "counts": "\0" * 9}),
            "annotations[0]: cannot be drawn: the run lengths have a character",
        ),
        (annotation(9, 1), "none of its 1 annotations can be drawn"),
    ],
)
def test_invalid_files(tmp_path, entry, words):
    assert_error(write(tmp_path, [entry]), words)
