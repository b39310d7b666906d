"""Readers of formats on real files in packages (for licences see the sample datasets).

Debian's `labelme-examples` (GPL-3+; the VOC photographs are their owners') has LabelMe's
annotations, and what LabelMe itself exported of them: our labels are compared with those.
"""

import io
import shutil
import subprocess
import zipfile

import nibabel as nib
import numpy as np
import pytest
import rasterio
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.sources.benchmarks.voc import CLASS_NAMES
from fcnjax.data.sources.samples import SAMPLES, fetch
from fcnjax.data.sources.samples.debian import download_deb
from fcnjax.data.sources.samples.landsat8 import BANDS
from fcnjax.runtime.packages import download
from fcnjax.validate import ERROR, NOTE, check

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def labelme_examples(tmp_path_factory):
    root = tmp_path_factory.mktemp("labelme")
    package = download_deb("labelme-examples", root / "package")
    subprocess.run(["dpkg-deb", "-x", package, root / "files"], check=True)
    return root / "files/usr/share/doc/labelme-examples/examples"


@pytest.fixture(scope="module")
def histolytics(tmp_path_factory):
    """Return the two mask archives of the wheel, by name, and the image."""
    sample = SAMPLES["he_nuclei"]
    folder = tmp_path_factory.mktemp("histolytics") / "package"
    with zipfile.ZipFile(download(sample.package, sample.sha256, folder, wheel=True)) as archive:
        masks = {
            name: archive.read(f"histolytics/data/hgsc_nest_{name}_mask.npz")
            for name in ("type", "inst")
        }
        image = Image.open(io.BytesIO(archive.read("histolytics/data/hgsc_nest.jpg")))
        image.load()
    arrays = {}
    for name, content in masks.items():
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays[name] = archive["nuc_raster"]
    return image, arrays


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCNJAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield {name: fetch(name) for name in SAMPLES}


def opened(source, root, **data):
    config = default_config()
    set_data(config, {"source": source, "root": str(root), **data})
    config, _ = resolve(config)
    return config, [open_source(config, part) for part in ("train", "eval")]


def examples(sources):
    return {e["name"]: e for source in sources for e in map(source.__getitem__, range(len(source)))}


def worst_part(label, exported):
    """Return the smallest overlap of a class between the two labels."""
    classes = np.union1d(label, exported)
    return min(
        ((label == c) & (exported == c)).sum() / ((label == c) | (exported == c)).sum()
        for c in classes
    )


def test_labelme_frames(labelme_examples):
    frames = labelme_examples / "video_annotation"
    config, sources = opened("labelme", frames / "data_annotated")
    assert config.data.class_names[1:] == ("car", "track")
    found = examples(sources)
    assert sorted(found) == [f"0000010{i}" for i in range(5)]
    names = (frames / "data_dataset_voc/class_names.txt").read_text().split()
    assert names == ["_background_", "car", "track"]
    for name, example in found.items():
        exported = np.load(frames / f"data_dataset_voc/SegmentationClass/{name}.npy")
        assert example["image"].shape == (563, 1000, 3)
        assert worst_part(example["label"], exported) > 0.98


def test_labelme_with_void(labelme_examples):
    folder = labelme_examples / "semantic_segmentation"
    _, sources = opened(
        "labelme",
        folder / "data_annotated",
        class_names=tuple((folder / "labels.txt").read_text().splitlines()[1:]),
    )
    for name, example in examples(sources).items():
        exported = np.load(folder / f"data_dataset_voc/SegmentationClass/{name}.npy")
        exported = np.where(exported < 0, 255, exported)
        assert worst_part(example["label"], exported) > 0.95


def laid_out_as_voc(examples_folder, root):
    """Copy the palette masks that LabelMe exported to the folders and lists of VOC 2012."""
    exported = examples_folder / "semantic_segmentation/data_dataset_voc"
    shutil.copytree(exported / "JPEGImages", root / "JPEGImages")
    shutil.copytree(exported / "SegmentationClassPNG", root / "SegmentationClass")
    lists = root / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2011_000003\n2011_000006\n")
    (lists / "val.txt").write_text("2011_000025\n")
    return exported


def test_voc_palette_masks(labelme_examples, tmp_path):
    exported = laid_out_as_voc(labelme_examples, tmp_path)
    config, sources = opened("voc", tmp_path)
    assert config.data.class_names == CLASS_NAMES
    found = examples(sources)
    for name, example in found.items():
        raw = np.load(exported / f"SegmentationClass/{name}.npy")
        np.testing.assert_array_equal(example["label"], np.where(raw < 0, 255, raw))
    seen = {CLASS_NAMES[i] for e in found.values() for i in np.unique(e["label"]) if i != 255}
    assert seen == {"background", "bottle", "person", "chair", "sofa", "bus", "car"}


def test_voc_palette_masks_in_a_folder(labelme_examples, tmp_path):
    laid_out_as_voc(labelme_examples, tmp_path)
    places = {"images": "JPEGImages", "masks": "SegmentationClass"}
    config, sources = opened("folder", tmp_path, eval_fraction=0.34, **places)
    assert config.data.palette[15] == (192, 128, 128)  # person, in VOC's colours
    assert (examples(sources)["2011_000003"]["label"] == 255).sum() == 9460
    asked = default_config()
    set_data(asked, source="folder", root=str(tmp_path), eval_fraction=0.34, **places)
    findings = check(asked).findings
    assert [f for f in findings if f.severity == ERROR] == []


def test_bands_of_landsat(samples):
    folder = samples["landsat8_cloud"]
    config, (train, _) = opened("geotiff", folder, channels="B5,B4,B11", window=(128, 128))
    assert config.data.labels.mask_values == (0, 1)
    with rasterio.open(folder / "images/landsat8.tif") as raster:
        stored = raster.read([BANDS.index(name) + 1 for name in ("B5", "B4", "B11")])
    with rasterio.open(folder / "masks/landsat8.tif") as raster:
        label = raster.read(1)
    np.testing.assert_array_equal(train[0]["image"], stored[:, :128, :128].transpose(1, 2, 0))
    np.testing.assert_array_equal(train[0]["label"], label[:128, :128])
    # Clouds are bright in near infrared and red, and cold.
    low, high = (stored[:, label == value].mean(-1) for value in (0, 1))
    assert high[1] > low[1]
    assert high[2] < low[2]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_colin27(samples, axis):
    folder = samples["colin27_aal"]
    config, sources = opened("nifti", folder, channels="L", axis=axis)
    assert config.data.labels.mask_values == tuple(range(117))
    (file,) = (folder / "masks").iterdir()
    atlas = np.asarray(nib.load(file).dataobj)
    found = examples(sources)
    assert len(found) == atlas.shape[axis]
    counts = sum(np.bincount(e["label"].ravel(), minlength=256) for e in found.values())
    np.testing.assert_array_equal(counts, np.bincount(atlas.ravel().astype(int), minlength=256))
    number = atlas.shape[axis] // 2
    label = next(e["label"] for name, e in found.items() if name.endswith(f"_{number:03}"))
    expected = np.take(atlas, number, axis)
    assert label.shape in (expected.shape, expected.shape[::-1])
    np.testing.assert_array_equal(np.unique(label), np.unique(expected))


def tiles(histolytics, name, root, dtype):
    """Write four tiles of the image and of a mask archive as a folder of images and masks."""
    image, arrays = histolytics
    image, mask = np.asarray(image.convert("RGB")), arrays[name]
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for number in range(4):
        y, x = (750 * place for place in divmod(number, 2))
        window = np.s_[y : y + 750, x : x + 750]
        Image.fromarray(image[window]).save(root / f"images/t{number}.png")
        Image.fromarray(mask[window].astype(dtype)).save(root / f"masks/t{number}.png")
    return mask


def test_labelled_nuclei_types(histolytics, tmp_path):
    mask = tiles(histolytics, "type", tmp_path, np.uint8)
    config, sources = opened("folder", tmp_path, eval_fraction=0.25)
    assert config.data.labels.mask_values == (0, 1, 2, 3)
    found = examples(sources)
    joined = np.block([[found[f"t{2 * y + x}"]["label"] for x in range(2)] for y in range(2)])
    np.testing.assert_array_equal(joined, mask)


def test_numbered_nuclei(histolytics, tmp_path):
    mask = tiles(histolytics, "inst", tmp_path, np.uint16)
    assert mask.max() > 500
    _, sources = opened("folder", tmp_path, eval_fraction=0.25, encoding="instances")
    found = examples(sources)
    joined = np.block([[found[f"t{2 * y + x}"]["label"] for x in range(2)] for y in range(2)])
    np.testing.assert_array_equal(joined, mask > 0)
    # Both archives show the same nuclei.
    np.testing.assert_allclose((mask > 0).mean(), (histolytics[1]["type"] > 0).mean(), atol=0.01)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("stare", "RGB"),
        ("he_nuclei", "RGB"),
        ("nuclei", "L"),
        ("landsat8_cloud", ",".join(BANDS)),
        ("colin27_aal", "L"),
    ],
)
def test_dataset_check_has_only_notes_on_sample_sets(samples, name, channels):
    config = default_config()
    set_data(config, source=name, split_eval="test", channels=channels)
    findings = check(config).findings
    assert {finding.severity for finding in findings} == {NOTE}
    told = {finding.kind for finding in findings}
    # Blocks of one head have neighbours on both sides, and regions in one block only.
    assert ({"near duplicates", "empty class"} <= told) == (name == "colin27_aal")
    assert ("ignored pixels" in told) == (name == "landsat8_cloud")
