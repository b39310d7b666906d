import pickle
import re

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error, read_names
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.splits.folders import divide

SIZE = (12, 10)


def write(root, stems, mask=None, images="images", masks="masks"):
    """Write an image and a mask for each stem; the mask cycles through the values."""
    values = np.asarray(mask if mask is not None else (0, 1), np.uint8)
    for folder in (images, masks):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(stems):
        image = np.full((*SIZE, 3), number, np.uint8)
        Image.fromarray(image).save(root / images / f"{stem}.png")
        stored = np.resize(np.roll(values, number), SIZE)
        Image.fromarray(stored).save(root / masks / f"{stem}.png")
    return root


def config_of(root, **data):
    config = default_config()
    config.data.root = str(root)
    set_data(config, data)
    return config


ABC = tuple("abcdefghij")


def test_pairs_of_any_suffix(tmp_path):
    write(tmp_path, ABC)
    Image.open(tmp_path / "images/a.png").save(tmp_path / "images/a.JPG")
    (tmp_path / "images/a.png").unlink()
    Image.open(tmp_path / "masks/b.png").save(tmp_path / "masks/b.tif")
    (tmp_path / "masks/b.png").unlink()
    (tmp_path / "masks/.DS_Store").write_text("")
    (tmp_path / "images/readme.txt").write_text("")
    config, notes = resolve(config_of(tmp_path))
    assert sorted(read_names(config, "train") + read_names(config, "eval")) == list(ABC)
    assert len(notes) == 1
    assert "8 images to train on, 2 held out; masks hold 0, 1: 2 classes" in notes[0]


def test_example_and_source(tmp_path):
    config, _ = resolve(config_of(write(tmp_path, ABC, (0, 255))))
    source = pickle.loads(pickle.dumps(open_source(config, "train")))
    example = source[0]
    assert example["image"].shape == (*SIZE, 3)
    assert example["image"].dtype == example["label"].dtype == np.uint8
    assert set(np.unique(example["label"])) == {0, 1}
    assert source.size(0) == SIZE
    assert source.class_names == ("background", "foreground")
    config.data.channels = "L"
    assert open_source(config, "train")[0]["image"].shape == (*SIZE, 1)


def test_fraction_depends_on_the_seed(tmp_path):
    write(tmp_path, ABC)
    first, _ = resolve(config_of(tmp_path, eval_fraction=0.3))
    assert len(read_names(first, "eval")) == 3
    assert read_names(first, "eval") == read_names(
        resolve(config_of(tmp_path, eval_fraction=0.3))[0], "eval"
    )
    configs = [resolve(config_of(tmp_path, split_seed=seed))[0] for seed in range(8)]
    splits = {tuple(read_names(config, "eval")) for config in configs}
    assert len(splits) > 4


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_fraction_leaves_one_in_each_split(tmp_path, fraction):
    config, _ = resolve(config_of(write(tmp_path, "abc"), eval_fraction=fraction))
    assert len(read_names(config, "train")) >= 1
    assert len(read_names(config, "eval")) >= 1


def test_list_split(tmp_path):
    write(tmp_path, ABC)
    (tmp_path / "train.txt").write_text("\ufeffc\na\n\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("b.png\r\n a \n")
    config, notes = resolve(config_of(tmp_path))
    assert read_names(config, "train") == ["c", "a"]
    assert read_names(config, "eval") == ["b", "a"]
    assert "7 images are in neither split" in notes[2]
    assert "1 images are in both splits" in notes[1]
    (tmp_path / "val.txt").write_text("b\nx7\n")
    assert_error(config_of(tmp_path), "val.txt, line 2", "'x7'")
    (tmp_path / "val.txt").write_text("\n")
    assert_error(config_of(tmp_path), "val.txt: names no image")
    (tmp_path / "val.txt").unlink()
    assert_error(config_of(tmp_path), "val.txt: no such list", "config.data.split.eval")
    resolve(config_of(tmp_path, split_by="fraction"))


@pytest.mark.parametrize("layout", ["images/{}", "{}/images"])
def test_folder_split(tmp_path, layout):
    for split, stems in (("train", "abc"), ("val", "de")):
        images = layout.format(split)
        write(tmp_path, stems, images=images, masks=images.replace("images", "masks"))
    config, _ = resolve(config_of(tmp_path))
    assert read_names(config, "train") == ["a", "b", "c"]
    assert read_names(config, "eval") == ["d", "e"]
    assert_error(config_of(tmp_path, split_eval="test"), "neither images/test and masks/test")


def test_missing_partners_are_named(tmp_path):
    write(tmp_path, ABC)
    for stem in "cdefg":
        (tmp_path / f"masks/{stem}.png").unlink()
    assert_error(config_of(tmp_path), "images: c, d, e and 2 more: no mask in", "masks")
    for stem in "abcdefg":
        (tmp_path / f"images/{stem}.png").unlink()
    assert_error(config_of(tmp_path), "masks: a, b: no image in")


def test_missing_or_empty_folders(tmp_path):
    assert_error(config_of(""), "config.data.root: ''", "'images'", "'masks'")
    assert_error(config_of(tmp_path / "no"), "is not a folder")
    assert_error(config_of(tmp_path), "images: no such folder")
    (tmp_path / "images").mkdir()
    assert_error(config_of(tmp_path), "images: has no image; valid: .bmp, .jpeg")


def test_two_files_of_one_name(tmp_path):
    write(tmp_path, "ab")
    Image.open(tmp_path / "images/a.png").save(tmp_path / "images/a.jpg")
    assert_error(config_of(tmp_path), "a.png: has the same name as a.jpg")


def test_sizes_must_agree(tmp_path):
    write(tmp_path, "ab")
    Image.fromarray(np.zeros((7, 8), np.uint8)).save(tmp_path / "masks/b.png")
    message = assert_error(config_of(tmp_path), "images/b.png is 10x12")
    assert re.search(r"masks/b\.png: is 8x7 pixels", message)


def test_bad_settings(tmp_path):
    write(tmp_path, "ab")
    assert_error(
        config_of(tmp_path, split_by="lists"), "config.data.split.by", "did you mean 'list'"
    )
    assert_error(
        config_of(tmp_path, source="folders"), "config.data.source", "did you mean 'folder'"
    )
    assert_error(config_of(tmp_path, channels="BGR"), "config.data.channels: 'BGR' is not RGB")
    assert_error(config_of(tmp_path, eval_fraction=1.0), "config.data.split.eval_fraction")
    assert_error(config_of(tmp_path, split_seed=-1), "config.data.split.seed: -1")
    assert_error(config_of(write(tmp_path / "one", "a")), "1 image cannot be split")


@pytest.mark.parametrize(
    ("stored", "values"),
    [
        ((0, 255), (0, 255)),
        ((0, 1), (0, 1)),
        ((0, 7), (0, 7)),
        ((0, 1, 255), (0, 1)),
        ((0, 1, 2), (0, 1, 2)),
        ((0, 1, 2, 3, 255), (0, 1, 2, 3)),
        ((0, 3, 255), (0, 1, 2, 3)),
        ((1, 2, 3), (0, 1, 2, 3)),
    ],
)
def test_classes_are_detected(tmp_path, stored, values):
    config, notes = resolve(config_of(write(tmp_path, "abc", stored)))
    assert config.data.labels.mask_values == values
    assert len(config.data.class_names) == len(config.data.palette) == len(values)
    label = open_source(config, "train")[0]["label"]
    expected = {255 if value not in values else values.index(value) for value in stored}
    assert set(np.unique(label).tolist()) == expected
    assert ("seen in no mask" in notes[0]) == (not set(values) <= set(stored))


def test_many_classes_with_few_in_each_mask(tmp_path):
    write(tmp_path, ABC)
    for i, stem in enumerate(ABC):  # like ADE20K: 150 classes, few of them in each mask
        stored = np.resize(np.arange(i * 15, i * 15 + 15, dtype=np.uint8), SIZE)
        Image.fromarray(stored).save(tmp_path / f"masks/{stem}.png")
    config, _ = resolve(config_of(tmp_path))
    assert config.data.class_names[-1] == "class_149"
    assert len(set(config.data.palette)) == 150


def test_images_that_are_not_masks(tmp_path):
    assert_error(
        config_of(write(tmp_path / "one", "ab", (0,))), "hold only 0", "labels.mask_values=0,255"
    )
    assert_error(config_of(write(tmp_path / "void", "ab", (3, 255))), "hold only 3, 255")
    assert_error(
        config_of(write(tmp_path / "odd", "ab", (0, 100, 200))), "values 0, 100, 200, which"
    )
    assert_error(
        config_of(write(tmp_path / "jpeg", "ab", range(120))), "120 distinct values", ".png"
    )
    near = (*range(12), *range(244, 256))  # JPEG artefacts of 0 and 255
    assert_error(
        config_of(write(tmp_path / "near", "ab", near)), "0, 1, 2", "which are not class ids"
    )


def test_declared_values(tmp_path):
    write(tmp_path, "ab", (0, 128, 200, 255))
    config, _ = resolve(config_of(tmp_path, mask_values=(128, 0, 200)))
    example = open_source(config, "train")[0]
    label = example["label"]
    stored = np.asarray(Image.open(tmp_path / f"masks/{example['name']}.png"))
    np.testing.assert_array_equal(label[stored == 128], 0)
    np.testing.assert_array_equal(label[stored == 0], 1)
    np.testing.assert_array_equal(label[stored == 255], 255)
    message = assert_error(
        config_of(tmp_path, mask_values=(0, 200)), "has the value 128", "not a class"
    )
    assert message.endswith("config.data.labels.mask_values: 0, 200, and 255 for what is ignored")
    assert_error(config_of(tmp_path, mask_values=(0, 0)), "config.data.labels.mask_values", "twice")


def test_named_classes(tmp_path):
    write(tmp_path, "ab", (0, 1))
    config, _ = resolve(config_of(tmp_path, class_names=("sky", "road", "car")))
    assert config.data.labels.mask_values == (0, 1, 2)
    assert_error(
        config_of(tmp_path, mask_values=(0, 1), class_names=("a", "b", "c")),
        "config.data.class_names: has 3 entries for 2 classes",
    )
    assert_error(config_of(tmp_path, class_names=("a", "a")), "config.data.class_names", "twice")
    assert_error(config_of(tmp_path, palette=((0, 0, 0),)), "config.data.palette: has 1 entries")


def test_ignore_label_cannot_be_a_class(tmp_path):
    write(tmp_path, "ab", (0, 1, 2))
    assert_error(
        config_of(tmp_path, ignore_label=0), "config.data.ignore_label: 0", "valid: 3 to 255"
    )
    assert_error(config_of(tmp_path, ignore_label=-1), "config.data.ignore_label: -1")


def test_more_than_255_classes(tmp_path):
    write(tmp_path, "ab")
    for stem in "ab":
        stored = np.resize(np.asarray([0, 299, 999], np.uint16), SIZE)
        Image.fromarray(stored).save(tmp_path / f"masks/{stem}.png")
    many = config_of(tmp_path, mask_values=tuple(range(300)), ignore_label=999)
    label = open_source(resolve(many)[0], "train")[0]["label"]
    assert label.dtype == np.int32
    assert set(np.unique(label).tolist()) == {0, 299, 999}
    many.data.ignore_label = 255
    assert_error(many, "config.data.ignore_label: 255")


def test_palette_of_the_masks(tmp_path):
    write(tmp_path, "ab", (0, 1, 2))
    for stem in "ab":
        mask = Image.open(tmp_path / f"masks/{stem}.png")
        mask.putpalette([0, 0, 0, 10, 20, 30, 200, 0, 0])
        mask.save(tmp_path / f"masks/{stem}.png")
    config, _ = resolve(config_of(tmp_path))
    assert config.data.palette == ((0, 0, 0), (10, 20, 30), (200, 0, 0))


def test_shuffled_labels_belong_to_other_images(tmp_path):
    write(tmp_path, ABC[:6])
    for i, stem in enumerate(ABC[:6]):  # a mask with a size of its own identifies its image
        size = (9 + i, 12 - i)
        Image.fromarray(np.full((*size, 3), i, np.uint8)).save(tmp_path / f"images/{stem}.png")
        Image.fromarray(np.full(size, i, np.uint8)).save(tmp_path / f"masks/{stem}.png")
    (tmp_path / "train.txt").write_text("\n".join(ABC[:5]))
    (tmp_path / "val.txt").write_text("f")
    config, _ = resolve(config_of(tmp_path, shuffle_labels=True))
    source, whose = open_source(config, "train"), []
    for i in range(5):
        example = source[i]
        assert example["label"].shape == example["image"].shape[:2] == source.size(i)
        owner = int(example["label"][0, 0])
        assert owner != i
        inside = np.zeros(source.size(i), bool)
        inside[: 9 + owner, : 12 - owner] = True
        np.testing.assert_array_equal(example["label"], np.where(inside, owner, 255))
        whose.append(owner)
    assert sorted(whose) == list(range(5))
    assert (open_source(config, "eval")[0]["label"] == 5).all()


def test_resolve_does_not_change_its_argument(tmp_path):
    config = config_of(write(tmp_path, "ab"))
    before = config.to_json()
    resolved, _ = resolve(config)
    assert config.to_json() == before
    assert resolve(resolved)[0] == resolved
    with pytest.raises(AttributeError, match="locked"):
        resolved.data.nothing = 1


def test_images_in_subfolders(tmp_path):
    write(tmp_path, ("a", "b", "c"))
    for folder in ("images", "masks"):
        for patient in ("p1", "p2"):
            write(tmp_path, ("a", "b"), None, f"images/{patient}", f"masks/{patient}")
        (tmp_path / folder / ".thumbs").mkdir()
        Image.new("L", (4, 4)).save(tmp_path / folder / ".thumbs/a.png")
        (tmp_path / folder / "__MACOSX").mkdir()
        Image.new("L", (4, 4)).save(tmp_path / folder / "__MACOSX/a.png")
    # Groups use names with subfolders: each patient is in one split.
    config, notes = resolve(config_of(tmp_path, group_by=r"^(?:(p\d)/)?"))
    assert re.search(r": \d images to train on, \d held out \(4 of them in subfolders\)", notes[0])
    pairs = divide(config.data)
    sides = [{image.parent for image, _ in pairs[part]} for part in ("train", "eval")]
    assert sum(map(len, pairs.values())) == 7
    assert list(map(len, sides)) == [2, 1]
    (tmp_path / "masks/p2/b.png").unlink()
    assert_error(config, "images: p2/b: no mask in")


def test_masks_inside_the_image_folder_are_not_images(tmp_path):
    write(tmp_path, ABC, images=".", masks="masks")
    config, _ = resolve(config_of(tmp_path, images=".", masks="masks"))
    assert sorted(read_names(config, "train") + read_names(config, "eval")) == list(ABC)


def test_one_folder_of_images_and_masks_with_a_suffix(tmp_path):
    write(tmp_path, ABC)
    for stem in ABC:
        (tmp_path / f"masks/{stem}.png").rename(tmp_path / f"images/{stem}_mask.png")
    config, _ = resolve(config_of(tmp_path, masks="images", mask_suffix="_mask"))
    assert sorted(read_names(config, "train") + read_names(config, "eval")) == list(ABC)
    assert_error(config_of(tmp_path, masks="images"), "config.data.mask_suffix says")


def test_images_outside_the_lists_need_no_mask(tmp_path):
    write(tmp_path, ABC)
    for stem in "efghij":
        (tmp_path / f"masks/{stem}.png").unlink()
    (tmp_path / "train.txt").write_text("a\nb.png\n")
    (tmp_path / "val.txt").write_text("c\n")
    config, notes = resolve(config_of(tmp_path))
    assert read_names(config, "train") == ["a", "b"]
    assert read_names(config, "eval") == ["c"]
    assert notes[1:] == [f"{tmp_path}: 7 images are in neither split, and are not used"]
    (tmp_path / "val.txt").write_text("c\ne\n")
    assert_error(config, "val.txt, line 2: no mask 'e' in")


def test_names_pair_in_any_unicode_form(tmp_path):
    composed, split = "caf\u00e9", "cafe\u0301"  # NFC, and NFD as macOS stores it
    write(tmp_path, (composed, "b", "c"))
    (tmp_path / f"images/{composed}.png").rename(tmp_path / f"images/{split}.png")
    (tmp_path / "train.txt").write_text(f"{split}\n")
    (tmp_path / "val.txt").write_text("b\n")
    config, _ = resolve(config_of(tmp_path))
    assert read_names(config, "train") == [split]
    config, _ = resolve(config_of(tmp_path, split_by="fraction"))
    assert split in read_names(config, "train") + read_names(config, "eval")
