"""Regions as COCO JSON, decoded by pycocotools and by the source `coco`."""

import contextlib
import io
import json

import numpy as np
import pytest
from scipy import ndimage

from fcnjax import cli, data
from fcnjax.config import load_config
from fcnjax.data.labels.mask_files import read_mask
from fcnjax.inference.outputs.coco import to_coco

coco = pytest.importorskip("pycocotools.coco")

# pycocotools 2.0.11 with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
NAMES = ("ground", "disc", "bar")


def read_back(path):
    """Return the category, area, box and pixels of each annotation."""
    with contextlib.redirect_stdout(io.StringIO()):
        file = coco.COCO(str(path))
    return [
        (one["category_id"], one["area"], one["bbox"], file.annToMask(one))
        for one in file.loadAnns(file.getAnnIds())
    ]


def check(mask, annotations):
    """Check that each region of each class occurs once with its exact pixels."""
    drawn = np.zeros_like(mask)
    for category, area, (x, y, width, height), pixels in annotations:
        rows, columns = np.nonzero(pixels)
        assert area == len(rows)
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        assert (mask[pixels > 0] == category).all()
        assert not drawn[pixels > 0].any()
        drawn[pixels > 0] = category
    np.testing.assert_array_equal(drawn, mask)
    touching = np.ones((3, 3))
    for value in set(np.unique(mask)) - {0}:
        count = ndimage.label(mask == value, touching)[1]
        assert count == sum(category == value for category, *_ in annotations)


@pytest.mark.parametrize("coarse", [1, 2, 7])
def test_random_masks_are_decoded_exactly(coarse, tmp_path):
    rng = np.random.default_rng(coarse)
    for share in (0.2, 0.5, 0.8):
        small = rng.choice(3, (40, 33), p=(1 - share, share / 2, share / 2)).astype(np.uint8)
        mask = small.repeat(coarse, 0).repeat(coarse, 1)[:40, :33]
        content = to_coco(mask, NAMES, "a.png")
        assert content["categories"] == [{"id": 1, "name": "disc"}, {"id": 2, "name": "bar"}]
        (tmp_path / "a.json").write_text(json.dumps(content))
        check(mask, read_back(tmp_path / "a.json"))


def test_only_regions_with_holes_are_run_length_encoded():
    mask = np.zeros((9, 12), np.uint8)
    mask[1:5, 1:5], mask[2, 2] = 1, 0  # a hole
    mask[6, 6], mask[7, 7] = 2, 2  # one region, joined at a corner
    ring, pair = to_coco(mask, NAMES, "a.png")["annotations"]
    assert ring["segmentation"]["counts"][:5] == [10, 4, 5, 1, 1]
    assert (ring["area"], ring["bbox"]) == (15, [1, 1, 4, 4])
    assert (pair["area"], pair["bbox"]) == (2, [6, 6, 2, 2])
    (outline,) = pair["segmentation"]
    assert sorted(zip(outline[::2], outline[1::2], strict=True)) == [
        *[(6, 6), (6, 7), (7, 6), (7, 7), (7, 7), (7, 8), (8, 7), (8, 8)]
    ]
    assert to_coco(0 * mask, NAMES, "a.png")["annotations"] == []


def test_predicted_components_are_a_coco_dataset(workdir, shapes, tmp_path):
    image = shapes / "images" / "picture00.jpg"
    options = (f"--model={workdir}", f"--out={tmp_path}", "--outputs=mask,components")
    assert cli.main(["predict", str(image), *options]) == 0
    mask = read_mask(tmp_path / "picture00_mask.png")
    check(mask, read_back(tmp_path / "picture00_components.json"))
    config = load_config(
        "folder",
        [
            f"--config.data.root={tmp_path}",
            "--config.data.source=coco",
            "--config.data.annotations={split}_components.json",
            f"--config.data.images={shapes / 'images'}",
            "--config.data.split.train=picture00",
            "--config.data.split.eval=picture00",
        ],
    )
    config, _ = data.resolve(config)
    example = data.open_source(config, "train")[0]
    assert example["name"] == "picture00"
    assert len(config.data.class_names) == 3
    np.testing.assert_array_equal(example["label"], mask)
