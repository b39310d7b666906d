import pickle
import sys

import numpy as np
import pytest
from data_keys import set_data
from dataset_reading import assert_error
from stamped import assert_stamped

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.readers.volumes import read as volumes
from fcnjax.data.sources import nifti

nibabel = pytest.importorskip("nibabel")
SHAPE = (9, 11, 13)
RNG = np.random.default_rng(0)


def save(path, voxels, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([2, 2, 2, 1.0]) if affine is None else affine
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)


def write(root, stems, end=".nii.gz", shape=SHAPE):
    """Write volumes from -100 to 100, and masks of 0, 1 and 2; returns both by name."""
    made = {}
    for name in stems:
        image = RNG.integers(-100, 101, shape, np.int16)
        mask = RNG.integers(0, 3, shape, np.uint8)
        save(root / f"images/{name}{end}", image)
        save(root / f"masks/{name}{end}", mask)
        made[name] = (image, mask)
    return made


def config_of(root, **data):
    config = default_config()
    set_data(config, {"source": "nifti", "root": str(root), "channels": "L"})
    set_data(config, {"intensity": (-50, 50), **data})
    return config


@pytest.mark.parametrize("end", [".nii", ".nii.gz"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_along_an_axis(tmp_path, axis, end):
    made = write(tmp_path, "abcde", end)
    config, notes = resolve(config_of(tmp_path, axis=axis))
    depth = SHAPE[axis]
    assert notes == [
        f"{tmp_path}: 4 volumes to train on in {4 * depth} slices, 1 held out in {depth}; masks "
        "hold 0, 1, 2: 3 classes"
    ]
    seen = set()
    for part in ("train", "eval"):
        source = pickle.loads(pickle.dumps(open_source(config, part)))
        for i in range(len(source)):
            example = source[i]
            name, position = example["name"].split("_")
            image, mask = (np.take(array, int(position), axis) for array in made[name])
            expected = np.round((np.clip(image, -50, 50) + 50.0) / 100 * 65535)
            assert example["image"].dtype == np.uint16
            np.testing.assert_allclose(example["image"][..., 0], expected, atol=1)
            np.testing.assert_array_equal(example["label"], mask)
            assert source.size(i) == example["label"].shape
            seen.add((name, int(position)))
    assert len(seen) == 5 * depth


def test_percentiles_of_each_volume(tmp_path):
    made = write(tmp_path, "ab")
    bright = (made["a"][0] * 10 + 5000).astype(np.int16)
    save(tmp_path / "images/b.nii.gz", bright)
    save(tmp_path / "images/a.nii.gz", made["a"][0])
    config, _ = resolve(config_of(tmp_path, intensity=()))
    images = {}
    for part in ("train", "eval"):
        example = open_source(config, part)[4]
        images[example["name"]] = example["image"]
    low, high = np.percentile(made["a"][0], (0.5, 99.5))
    expected = np.clip((made["a"][0][..., 4] - low) / (high - low), 0, 1) * 65535
    np.testing.assert_allclose(images["a_004"][..., 0], expected, atol=1)
    # The scale and offset of a volume have no effect.
    np.testing.assert_allclose(images["b_004"], images["a_004"], atol=1)


@pytest.mark.parametrize("end", [".nii", ".nii.gz"])
def test_stored_scale_is_applied(tmp_path, end):
    path = tmp_path / f"a{end}"
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 2
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, path)
    assert nibabel.load(path).dataobj.slope != 1
    np.testing.assert_allclose(volumes.read_slice(path, 2, 1), voxels[..., 1], atol=1e-3)


def test_intensities_of_nan_infinity_and_constant_volumes():
    values = np.asarray([np.nan, np.inf, -np.inf, 5])
    assert volumes.scale_intensities(values, 0, 10).tolist() == [0, 65535, 0, 32768]
    assert volumes.scale_intensities(np.full(2, 3.0), 3, 3).tolist() == [0, 0]


def test_single_volume_is_split_by_slices(tmp_path):
    write(tmp_path, "a")
    config, notes = resolve(config_of(tmp_path, eval_fraction=0.25))
    assert "by blocks of slices: the same subject is in both splits" in notes[1]
    source = open_source(config, "eval")
    assert [source[i]["name"] for i in range(len(source))] == ["a_003", "a_007", "a_011"]
    assert len(open_source(config, "train")) == 10


def test_uncompressed_volumes_are_not_cached(tmp_path):
    write(tmp_path, "ab", ".nii")
    proxy = volumes._voxels(tmp_path / "images/a.nii")
    assert not isinstance(proxy, np.ndarray)
    assert isinstance(volumes._voxels(tmp_path / "images/b.nii"), type(proxy))


def test_cache_holds_few_volumes(tmp_path):
    write(tmp_path, "abcdefgh")
    config, _ = resolve(config_of(tmp_path))
    source = open_source(config, "train")
    for i in range(len(source)):
        source[i]
    assert 0 < len(volumes._cache.volumes) <= volumes.CACHED


def test_rewritten_file_is_read_again(tmp_path):
    made = write(tmp_path, "a")
    path = tmp_path / "images/a.nii.gz"
    np.testing.assert_array_equal(volumes.read_slice(path, 0, 2), made["a"][0][2])
    save(path, np.zeros((9, 11, 14), np.int16))
    assert volumes.read_slice(path, 0, 2).shape == (11, 14)


def test_grey_as_rgb_and_a_fourth_axis_of_length_1(tmp_path):
    made = write(tmp_path, "ab")
    save(tmp_path / "images/a.nii.gz", made["a"][0][..., None])
    config, _ = resolve(config_of(tmp_path, channels="RGB"))
    image = open_source(config, "train")[0]["image"]
    assert image.shape == (9, 11, 3)
    assert (image == image[..., :1]).all()


def test_masks_of_other_shapes_are_refused(tmp_path):
    made = write(tmp_path, "ab")
    save(tmp_path / "masks/b.nii.gz", made["b"][1][:-1])
    assert_error(
        config_of(tmp_path), "masks/b.nii.gz: has the shape (8, 11, 13)", "has (9, 11, 13)"
    )
    save(tmp_path / "masks/b.nii.gz", made["b"][1], np.diag([2, 2, 2.2, 1]))
    assert_error(config_of(tmp_path), "masks/b.nii.gz: lies elsewhere", "by 2.6 mm")
    save(tmp_path / "masks/b.nii.gz", made["b"][1] + np.float32(0.5))
    assert_error(config_of(tmp_path), "masks/b.nii.gz: has the value 2.5, in 99 pixels")
    save(tmp_path / "masks/b.nii.gz", np.zeros((*SHAPE, 2), np.uint8))
    assert_error(
        config_of(tmp_path), "masks/b.nii.gz: has the shape (9, 11, 13, 2); valid: three axes"
    )


def test_invalid_settings_and_files_are_refused(tmp_path):
    write(tmp_path, "ab")
    assert_error(config_of(tmp_path, axis=3), "config.data.nifti.axis: 3 is not in 0..2")
    assert_error(
        config_of(tmp_path, intensity=(5, 5)), "config.data.nifti.intensity: (5, 5) is not a low"
    )
    assert_error(config_of(tmp_path, intensity=("a", "b")), "config.data.nifti.intensity")
    assert_error(config_of(tmp_path, channels="a,b"), "config.data.channels: 'a,b'")
    assert_error(config_of(tmp_path, mask_values=(0, 1)), "has the value 2, which is not a class")
    path = tmp_path / "masks/b.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    assert_error(config_of(tmp_path), "masks/b.nii.gz: cannot be read as NIfTI")
    path.unlink()
    assert_error(config_of(tmp_path), "images: b: no mask in")
    save(path, np.zeros(SHAPE, np.uint8))
    save(tmp_path / "masks/b.nii", np.zeros(SHAPE, np.uint8))
    assert_error(config_of(tmp_path), "masks/b.nii.gz: has the same name as b.nii")


def test_without_nibabel(tmp_path, monkeypatch):
    write(tmp_path, "ab")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert_error(config_of(tmp_path), ".nii.gz: reading it needs", "pip install 'fcnjax[medical]'")


def test_blocks_cover_all_slices():
    for length in range(2, 200):
        for fraction in (0.01, 0.3, 0.5, 0.99):
            parts = nifti.split_slices(length, fraction)
            assert sorted(parts["train"] + parts["eval"]) == list(range(length))
            assert parts["train"]
            assert parts["eval"]
    held_out = nifti.split_slices(181, 0.2)["eval"]
    # Blocks of twelve slices, the fifth, tenth and fifteenth of sixteen.
    assert held_out == [*range(48, 60), *range(108, 120), *range(168, 180)]


def test_changed_files_are_detected(tmp_path):
    write(tmp_path, "a", end=".nii")
    assert_stamped(config_of(tmp_path), tmp_path / "images/a.nii", tmp_path / "masks/a.nii")


def test_labels_within_rounding_of_their_scale(tmp_path):
    made = write(tmp_path, "abc")
    for name, (_, mask) in made.items():
        for slope, kind in ((4 / 255, np.uint8), (2 / 65535, np.uint16)):
            stored = nibabel.Nifti1Image(np.round(mask / slope).astype(kind), np.diag([2, 2, 2, 1]))
            stored.header.set_slope_inter(slope, 0)
            path = tmp_path / f"masks/{name}.nii.gz"
            nibabel.save(stored, path)
            if kind == np.uint8:
                assert volumes.label_values(path) == [0, 1, 2]
                labels = volumes.to_integers(volumes.read_slice(path, 2, 3), path, step=slope)
                np.testing.assert_array_equal(labels, mask[..., 3])
    config, _ = resolve(config_of(tmp_path))
    assert config.data.labels.mask_values == (0, 1, 2)
    for example in open_source(config, "train"):
        name, position = example["name"].split("_")
        np.testing.assert_array_equal(example["label"], made[name][1][..., int(position)])


def test_nan_voxels_are_ignored(tmp_path):
    made = write(tmp_path, "ab")
    for name, (_, mask) in made.items():
        voxels = mask.astype(np.float32)
        voxels[0] = np.nan
        save(tmp_path / f"masks/{name}.nii.gz", voxels)
    config, _ = resolve(config_of(tmp_path))
    assert config.data.labels.mask_values == (0, 1, 2)
    label = open_source(config, "train")[0]["label"]
    assert (label[0] == 255).all()
    assert (label[1:] < 3).all()
