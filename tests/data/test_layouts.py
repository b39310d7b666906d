import pickle

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error
from PIL import Image
from stamped import assert_stamped

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.flip_pairs import flip_permutation
from fcnjax.data.sources.benchmarks import ade20k, camvid, celebamask, cityscapes, voc
from fcnjax.errors import UserError

SIZE = (4, 6)


def save(path, pixels, palette=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    if palette:
        image.putpalette([part for colour in palette for part in colour])
    image.save(path)


def picture(path, size=SIZE):
    save(path, np.full((*size, 3), 90))


def stored(*values, size=SIZE):
    """Return a mask whose pixels cycle through the values."""
    return np.resize(np.asarray(values, np.uint8), size)


def config_of(source, root, **data):
    config = default_config()
    set_data(config, source=source, root=str(root), **data)
    return config


def opened(config):
    """Return the sources `train` and `eval` of a config, pickled as for a worker."""
    config, notes = resolve(config)
    assert len(notes) == 1
    assert resolve(config)[0] == config
    return [pickle.loads(pickle.dumps(open_source(config, part))) for part in ("train", "eval")]


def names(source):
    examples = [source[i] for i in range(len(source))]
    for i, example in enumerate(examples):
        assert example["label"].shape == example["image"].shape[:2] == source.size(i)
        assert example["label"].dtype == example["image"].dtype == np.uint8
    return [example["name"] for example in examples]


LAYOUTS = ("voc", "cityscapes", "camvid", "ade20k", "celebamask")


@pytest.mark.parametrize("source", LAYOUTS)
def test_root_without_a_dataset(source, tmp_path):
    assert_error(config_of(source, tmp_path / "no"), "config.data.root", "is not a folder")
    assert_error(config_of(source, tmp_path), str(tmp_path))


def test_classes():
    assert len(voc.CLASS_NAMES) == 21
    assert voc.voc_palette(256)[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert voc.voc_palette(256)[20] == (0, 64, 128)
    assert voc.voc_palette(256)[255] == (224, 224, 192)
    assert len(set(voc.voc_palette(256))) == 256
    assert len(cityscapes.CLASSES) == 19
    ids, ignored = cityscapes.STORED["labelIds"]
    assert sorted(ids + ignored) == list(range(34))
    assert len(camvid.COLOURS) == len(set(camvid.COLOURS.values())) == 32
    assert {part for colour in camvid.COLOURS.values() for part in colour} == {0, 64, 128, 192}
    assert camvid.COLOURS["Bicyclist"] == (0, 128, 192)
    assert camvid.COLOURS["SUVPickupTruck"] == (64, 128, 192)
    assert camvid.COLOURS["TrafficLight"] == (0, 64, 64)
    assert len(camvid.TUTORIAL) == 11
    ade = list(ade20k.CLASSES)
    assert len(ade) == 150
    # Ids of the benchmark start at 1.
    at = {1: "wall", 13: "person", 50: "fireplace", 91: "airplane", 128: "bicycle", 150: "flag"}
    assert {place: ade[place - 1] for place in at} == at
    assert len(celebamask.FACE_PARTS) == 18
    assert celebamask.FACE_PARTS["cloth"] == 18


def write_voc(root):
    for name in ("2007_a", "2007_b", "2007_c", "unlabelled"):
        picture(root / f"JPEGImages/{name}.jpg")
    for name, values in (("a", (0, 1, 255)), ("b", (20, 15)), ("c", (7,))):
        mask = stored(*values)
        save(root / f"SegmentationClass/2007_{name}.png", mask, voc.voc_palette(256))
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_b\n2007_a\n")
    (lists / "val.txt").write_text("2007_c\n")
    (lists / "trainval.txt").write_text("2007_a\n2007_b\n2007_c\n")
    return root


def test_voc(tmp_path):
    root = write_voc(tmp_path / "VOC2012")
    train, held_out = opened(config_of("voc", root))
    assert names(train) == ["2007_b", "2007_a"]
    assert names(held_out) == ["2007_c"]
    np.testing.assert_array_equal(train[0]["label"], stored(20, 15))
    np.testing.assert_array_equal(train[1]["label"], stored(0, 1, 255))
    assert train.class_names[15] == "person"
    config, _ = resolve(config_of("voc", tmp_path, split_train="trainval"))
    assert config.data.palette == voc.voc_palette(21)
    assert len(open_source(config, "train")) == 3


def test_voc_augmented(tmp_path):
    root = write_voc(tmp_path)
    augmented = config_of("voc", root, masks="SegmentationClassAug")
    assert_error(augmented, "SegmentationClassAug: no such folder")
    for name in "abc":
        save(root / f"SegmentationClassAug/2007_{name}.png", stored(9, 255))
    save(root / "SegmentationClassAug/unlabelled.png", stored(3))
    (root / "ImageSets/Segmentation/train_aug.txt").write_text("unlabelled\n2007_a\n")
    augmented.data.split.train = "train_aug"
    train, _ = opened(augmented)
    np.testing.assert_array_equal(train[0]["label"], stored(3))
    np.testing.assert_array_equal(train[1]["label"], stored(9, 255))
    assert_error(config_of("voc", root, masks="Class"), "config.data.masks", "SegmentationClassAug")


def test_voc_classes_merged(tmp_path):
    wild = tuple((name, "background") for name in voc.CLASS_NAMES[1:15])
    config = config_of("voc", write_voc(tmp_path), label_map=(*wild, ("tvmonitor", "")))
    train, _ = opened(config)
    assert train.class_names[:2] == ("background", "person")
    np.testing.assert_array_equal(train[0]["label"], stored(255, 1))
    np.testing.assert_array_equal(train[1]["label"], stored(0, 0, 255))


def test_voc_mistakes(tmp_path):
    root = write_voc(tmp_path)
    assert_error(
        config_of("voc", root, split_eval="vall"), "config.data.split.eval", "did you mean"
    )
    save(root / "SegmentationClass/2007_c.png", stored(21))
    assert_error(config_of("voc", root), "2007_c.png: has the value 21", "not a class")
    save(root / "SegmentationClass/2007_c.png", stored(1, size=(4, 5)))
    assert_error(config_of("voc", root), "2007_c.png: is 5x4 pixels", "6x4")
    (root / "SegmentationClass/2007_c.png").write_bytes(b"\x89PNG")
    assert_error(config_of("voc", root), "2007_c.png: cannot be read")
    (root / "SegmentationClass/2007_c.png").unlink()
    assert_error(config_of("voc", root), "val.txt, line 1: no mask 2007_c in", "SegmentationClass")
    (root / "ImageSets/Segmentation/val.txt").write_text("\n2007_d.jpg\n")
    assert_error(config_of("voc", root), "val.txt, line 2: no image 2007_d in", "JPEGImages")
    (root / "ImageSets/Segmentation/val.txt").write_text("\n")
    assert_error(config_of("voc", root), "val.txt: names no image")
    (root / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe\x00")
    assert_error(config_of("voc", root), "val.txt: cannot be read as text")
    for path in (root / "ImageSets/Segmentation").iterdir():
        path.unlink()
    assert_error(config_of("voc", root), "Segmentation: has no list of a split")


def write_cityscapes(root, kinds, splits=("train", "val")):
    for split, city in zip(splits, ("ulm", "bonn", "berlin"), strict=False):
        for number in (1, 0):
            name = f"{city}/{city}_00000{number}_000019"
            picture(root / f"leftImg8bit/{split}/{name}_leftImg8bit.png")
            for kind, values in kinds.items():
                path = root / f"gtFine/{split}/{name}_gtFine_{kind}.png"
                save(path, stored(*np.roll(values, -number)))
    return root


def test_cityscapes_ids(tmp_path):
    kinds = {"labelIds": range(34), "labelTrainIds": (0,), "color": (3,)}
    write_cityscapes(tmp_path, kinds, ("train", "val", "test"))
    train, held_out = opened(config_of("cityscapes", tmp_path))
    assert names(train) == [f"ulm_00000{i}_000019_leftImg8bit" for i in range(2)]
    assert names(held_out)[0] == "bonn_000000_000019_leftImg8bit"
    classes = np.full(34, 255, np.uint8)
    classes[[7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]] = range(19)
    np.testing.assert_array_equal(train[0]["label"], classes[stored(*range(34))])
    np.testing.assert_array_equal(train[1]["label"], classes[stored(*np.roll(range(34), -1))])
    assert train.class_names[classes[26]] == "car"
    assert len(opened(config_of("cityscapes", tmp_path, split_eval="test"))[1]) == 2


def test_cityscapes_train_ids(tmp_path):
    write_cityscapes(tmp_path, {"labelTrainIds": (18, 255, 0)})
    config, _ = resolve(config_of("cityscapes", tmp_path))
    train, _ = opened(config)
    np.testing.assert_array_equal(train[0]["label"], stored(18, 255, 0))
    # Masks of another kind that appear later are not read with these values.
    write_cityscapes(tmp_path, {"labelIds": (7,)})
    np.testing.assert_array_equal(open_source(config, "train")[0]["label"], stored(18, 255, 0))
    train, _ = opened(config_of("cityscapes", tmp_path))
    np.testing.assert_array_equal(train[0]["label"], stored(0))


def test_cityscapes_mistakes(tmp_path):
    assert_error(config_of("cityscapes", tmp_path), "leftImg8bit/train: no such folder")
    root = write_cityscapes(tmp_path, {"color": (1,)})
    assert_error(
        config_of("cityscapes", root), "gtFine/train", "labelIds.png or _gtFine_labelTrainIds"
    )
    assert_error(config_of("cityscapes", root, masks="label"), "config.data.masks", "labelTrainIds")
    assert_error(
        config_of("cityscapes", root, split_train="trai"), "config.data.split.train", "'train'"
    )
    write_cityscapes(root, {"labelIds": (1, 7, 34)})
    assert_error(config_of("cityscapes", root), "labelIds.png: has the value 34")
    lone = root / "gtFine/val/bonn/bonn_000001_000019_gtFine_labelIds.png"
    lone.unlink()
    assert_error(config_of("cityscapes", root), "leftImg8bit/val/bonn", f"has no mask {lone}")
    (root / "leftImg8bit/test").mkdir()
    (root / "gtFine/test").mkdir()
    assert_error(
        config_of("cityscapes", root, split_eval="test"), "test: has no CITY/NAME_leftImg8bit"
    )


def write_camvid(root, images, masks):
    colours = np.asarray([*camvid.COLOURS.values()], np.uint8)
    for i, name in enumerate(("0001_a", "0001_b", "0002_c")):
        picture(root / images / f"{name}.png", (4, 8))
        save(root / masks / f"{name}_L.png", colours[(np.arange(32) + i) % 32].reshape(4, 8, 3))
    (root / "train.txt").write_text("0001_b.png\n0001_a\n")
    (root / "val.txt").write_text("0002_c\n")
    return root


@pytest.mark.parametrize(
    "folders", [("701_StillsRaw_full", "LabeledApproved_full"), ("images", "labels")]
)
def test_camvid(tmp_path, folders):
    train, held_out = opened(config_of("camvid", write_camvid(tmp_path, *folders)))
    assert names(train) == ["0001_b", "0001_a"]
    assert names(held_out) == ["0002_c"]
    assert len(train.class_names) == 31
    assert "Void" not in train.class_names
    # In the order of the dataset, Void is the last but one.
    classes = np.asarray([*range(30), 255, 30], np.uint8)
    np.testing.assert_array_equal(train[1]["label"], classes.reshape(4, 8))
    np.testing.assert_array_equal(train[0]["label"], np.roll(classes, -1).reshape(4, 8))
    config, _ = resolve(config_of("camvid", tmp_path))
    assert dict(zip(config.data.class_names, config.data.palette, strict=True)) == {
        name: colour for name, colour in camvid.COLOURS.items() if name != "Void"
    }


def test_camvid_mistakes(tmp_path):
    assert_error(config_of("camvid", tmp_path), "neither trainannot nor LabeledApproved_full")
    root = write_camvid(tmp_path, "images", "labels")
    assert_error(config_of("camvid", root, split_eval="test"), "test.txt: no such list", "splits")
    assert_error(
        config_of("camvid", root, split_eval="dev"), "config.data.split.eval", "test, train"
    )
    assert_error(
        config_of("camvid", root, encoding="onehot"), "config.data.labels.encoding", "ids, rgb"
    )
    save(root / "labels/0002_c_L.png", np.full((4, 8, 3), (1, 2, 3)))
    assert_error(config_of("camvid", root), "0002_c_L.png: has the colour (1, 2, 3), in 32 pixels")
    (root / "labels/0002_c_L.png").unlink()
    assert_error(config_of("camvid", root), "val.txt, line 1: no mask 0002_c_L.png in", "labels")
    (root / "images").rename(root / "pictures")
    assert_error(config_of("camvid", root), "has no folder 701_StillsRaw_full or images")


def test_camvid_of_the_tutorial(tmp_path):
    for split, stems in (("train", "ba"), ("val", "c"), ("test", "d")):
        for stem in stems:
            picture(tmp_path / split / f"{stem}.png")
            save(tmp_path / f"{split}annot/{stem}.png", stored(*range(12)))
    (tmp_path / "train.txt").write_text(
        "/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png"
    )
    train, held_out = opened(config_of("camvid", tmp_path, split_eval="test"))
    assert names(train) == ["a", "b"]
    assert names(held_out) == ["d"]
    np.testing.assert_array_equal(train[0]["label"], stored(*range(11), 255))
    assert train.class_names[3:5] == ("Road", "Pavement")
    assert_error(config_of("camvid", tmp_path, split_eval="dev"), "config.data.split.eval")
    save(tmp_path / "valannot/c.png", stored(12))
    assert_error(config_of("camvid", tmp_path), "c.png: has the value 12", "not a class")
    (tmp_path / "valannot/c.png").rename(tmp_path / "valannot/e.png")
    assert_error(config_of("camvid", tmp_path), "val: c: no mask in")
    (tmp_path / "val").rename(tmp_path / "dev")
    assert_error(config_of("camvid", tmp_path), "val: no such folder", "'trainannot'")


def write_ade20k(root):
    for split, count in (("training", 3), ("validation", 2)):
        for i in range(count):
            picture(root / f"images/{split}/ADE_{i}.jpg")
            save(root / f"annotations/{split}/ADE_{i}.png", stored(0, i + 1, 149, 150))
    return root


def test_ade20k(tmp_path):
    train, held_out = opened(config_of("ade20k", write_ade20k(tmp_path)))
    assert names(train) == ["ADE_0", "ADE_1", "ADE_2"]
    assert names(held_out) == ["ADE_0", "ADE_1"]
    np.testing.assert_array_equal(train[2]["label"], stored(255, 2, 148, 149))
    assert train.class_names[2] == "sky"
    long = config_of("ade20k", tmp_path, split_train="validation", split_eval="training")
    assert list(map(len, opened(long))) == [2, 3]


def test_ade20k_mistakes(tmp_path):
    root = write_ade20k(tmp_path)
    assert_error(
        config_of("ade20k", root, split_eval="test"), "config.data.split.eval", "validation"
    )
    save(root / "annotations/validation/ADE_1.png", stored(151))
    assert_error(config_of("ade20k", root), "ADE_1.png: has the value 151")
    (root / "annotations/validation/ADE_1.png").unlink()
    assert_error(config_of("ade20k", root), "images/validation: ADE_1: no mask in")
    assert_error(config_of("ade20k", root / "images"), "no such folder", "'annotations'")


def write_celebamask(root, numbers=(0, 1, 1999, 2000, 2001)):
    """Write faces of 8x8 pixels with masks of 4x4: skin and hair in all, a hat in odd ones."""
    for number in numbers:
        pixels = np.arange(64 * 3).reshape(8, 8, 3)
        save(root / f"CelebA-HQ-img/{number}.png", pixels)
        (root / f"CelebA-HQ-img/{number}.png").rename(root / f"CelebA-HQ-img/{number}.jpg")
        folder = root / f"CelebAMask-HQ-mask-anno/{number // 2000}"
        parts = {"skin": np.s_[1:, :3], "hair": np.s_[:2, 1:]}
        if number % 2:
            parts["hat"] = np.s_[0, :2]
        for part, where in parts.items():
            mask = np.zeros((4, 4, 3), np.uint8)
            mask[where] = 255
            save(folder / f"{number:05d}_{part}.png", mask)
    return root


def test_celebamask(tmp_path):
    write_celebamask(tmp_path)
    (tmp_path / "train.txt").write_text("2001\n00000\n")
    (tmp_path / "val.txt").write_text("1999.jpg\n2000\n")
    train, held_out = opened(config_of("celebamask", tmp_path))
    assert names(train) == ["2001", "0"]
    assert names(held_out) == ["1999", "2000"]
    even = [[0, 13, 13, 13], [1, 13, 13, 13], [1, 1, 1, 0], [1, 1, 1, 0]]
    odd = [[14, 14, 13, 13], *even[1:]]
    np.testing.assert_array_equal(train[1]["label"], even)
    np.testing.assert_array_equal(train[0]["label"], odd)
    assert [train.class_names[i] for i in (1, 13, 14)] == ["skin", "hair", "hat"]
    # Each pixel is the mean of four; the value at (y, x, c) was 24 y + 3 x + c.
    y, x, c = np.mgrid[:4, :4, :3]
    mean = 24 * (2 * y + 0.5) + 3 * (2 * x + 0.5) + c
    assert np.abs(train[0]["image"] - mean).max() <= 0.5
    grey = opened(config_of("celebamask", tmp_path, channels="L"))[0][0]["image"]
    assert grey.shape == (4, 4, 1)


def test_celebamask_classes_merged(tmp_path):
    merged = config_of("celebamask", write_celebamask(tmp_path), label_map=(("hat", "hair"),))
    config, _ = resolve(merged)
    assert len(config.data.class_names) == 18
    for part in ("train", "eval"):
        source = open_source(config, part)
        for i in range(len(source)):
            assert (source[i]["label"][0, 1:] == 13).all()


def test_celebamask_flip_pairs(tmp_path):
    write_celebamask(tmp_path)
    config, _ = resolve(config_of("celebamask", tmp_path))
    ids = flip_permutation(config.data)
    exchanged = {config.data.class_names[i] for i in np.flatnonzero(ids != np.arange(len(ids)))}
    assert exchanged == {"l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"}
    np.testing.assert_array_equal(ids[ids], np.arange(len(ids)))
    # Pairs that are merged, or partly ignored, are removed.
    merged = (("l_eye", "eyes"), ("r_eye", "eyes"), ("l_ear", ""), ("l_brow", "left brow"))
    config, _ = resolve(config_of("celebamask", tmp_path, label_map=merged))
    assert config.data.labels.mirror_pairs == (("left brow", "r_brow"),)
    for pairs, words in {
        (("l_eye", "eye"),): "unknown 'eye'",
        (("l_eye", "r_eye"), ("r_eye", "nose")): "'r_eye' is there twice",
    }.items():
        with pytest.raises(UserError, match=f"^config.data.labels.mirror_pairs: {words}"):
            resolve(config_of("celebamask", tmp_path, mirror_pairs=pairs))


def test_celebamask_fraction(tmp_path):
    write_celebamask(tmp_path, range(10))
    train, held_out = map(names, opened(config_of("celebamask", tmp_path, eval_fraction=0.3)))
    assert len(held_out) == 3
    assert sorted(train + held_out) == list("0123456789")
    again = map(names, opened(config_of("celebamask", tmp_path, eval_fraction=0.3)))
    assert list(again) == [train, held_out]
    seeds = [config_of("celebamask", tmp_path, split_seed=seed) for seed in range(6)]
    assert len({tuple(names(opened(config)[1])) for config in seeds}) > 3
    assert_error(
        config_of("celebamask", tmp_path, eval_fraction=1.0), "config.data.split.eval_fraction: 1.0"
    )
    (tmp_path / "train.txt").write_text("1\n")
    assert_error(config_of("celebamask", tmp_path), "val.txt: no such file")
    opened(config_of("celebamask", tmp_path, split_by="fraction"))
    assert_error(
        config_of("celebamask", tmp_path, split_by="folder"), "config.data.split.by", "auto"
    )
    one = write_celebamask(tmp_path / "one", (4,))
    assert_error(config_of("celebamask", one), "1 image cannot be split")


def test_celebamask_mistakes(tmp_path):
    root = write_celebamask(tmp_path)
    assert_error(config_of("celebamask", root, split_eval="vl"), "config.data.split.eval", "'val'")
    (root / "train.txt").write_text("0\n")
    for line, words in (("7", "line 1: no image 7.jpg in"), ("x", "line 1: 'x' is not the number")):
        (root / "val.txt").write_text(line)
        assert_error(config_of("celebamask", root), "val.txt", words)
    (root / "val.txt").write_text("2000")
    anno = root / "CelebAMask-HQ-mask-anno"
    save(anno / "1/02000_hair.png", stored(255, size=(2, 4)))
    assert_error(
        config_of("celebamask", root), "02000_hair.png: is 4x2 pixels", "02000_skin.png, 4x4"
    )
    save(root / "CelebA-HQ-img/2000.jpg", np.zeros((8, 9, 3)))
    (anno / "1/02000_hair.png").unlink()
    assert_error(config_of("celebamask", root), "2000.jpg: is 9x8 pixels", "02000_skin.png", "4x4")
    save(anno / "1/02000_nse.png", stored(255, size=(4, 4)))
    assert_error(config_of("celebamask", root), "02000_nse.png", "did you mean 'nose'")
    for path in anno.glob("1/02000_*"):
        path.unlink()
    assert_error(config_of("celebamask", root), "2000.jpg: has no mask 02000_*.png in")
    (anno / "1").rename(root / "elsewhere")
    assert_error(config_of("celebamask", root), "mask-anno/1: no such folder")
    anno.rename(root / "masks")
    assert_error(config_of("celebamask", root), "CelebAMask-HQ-mask-anno: no such folder")


def test_changed_faces_are_detected(tmp_path):
    write_celebamask(tmp_path)
    config = config_of("celebamask", tmp_path)
    train, _ = opened(config)
    number = int(train[0]["name"])
    mask = next((tmp_path / f"{celebamask.MASKS}/{number // 2000}").glob(f"{number:05d}_*.png"))
    assert_stamped(config, tmp_path / f"{celebamask.IMAGES}/{number}.jpg", mask)
