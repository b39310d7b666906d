"""A published model is scored on a dataset with classes of its own."""

import json

import numpy as np
import pytest
from drawn_models import write_published
from PIL import Image

from fcnjax import cli, load
from fcnjax.errors import UserError
from fcnjax.evaluation.class_map import match_classes, parse_class_map

MODEL = ("wall", "building, edifice", "sky", "floor", "traffic light")


@pytest.mark.parametrize(
    ("dataset", "class_map", "expected"),
    [
        (("Sky", "traffic_light"), "", [2, 4]),
        (("edifice", "wall"), "", [1, 0]),
        (("car", "wall"), "car=floor", [3, 0]),
        (("car", "wall"), "car=ignore", [None, 0]),
        (("wall", "sky"), "sky=wall", [0, 0]),
    ],
)
def test_classes_are_matched_by_name(dataset, class_map, expected):
    assert match_classes(dataset, MODEL, parse_class_map(class_map)) == expected


@pytest.mark.parametrize(
    ("dataset", "class_map", "words"),
    [
        (("car", "wall"), "", "the model has no class car; give its name"),
        (("car", "wall"), "car=truck", "the model has no class car=truck"),
        (("wall",), "sky=wall", "the dataset has no class 'sky'; valid: wall"),
        (("wall",), "wall", "'wall' is not CLASS=CLASS"),
        (("wall",), "wall=sky,wall=floor", "'wall' is given twice"),
    ],
)
def test_classes_without_a_partner_are_errors(dataset, class_map, words):
    with pytest.raises(UserError, match=words):
        match_classes(dataset, MODEL, parse_class_map(class_map))


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A model, and a folder of images whose masks are its predictions with other ids."""
    root = tmp_path_factory.mktemp("published")
    model = write_published("segformer", root / "model")
    loaded, rng = load(model), np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / "data" / folder).mkdir(parents=True)
    for i in range(3):
        image = rng.integers(0, 256, (40, 50, 3), np.uint8)
        # Ids of the dataset: 0 tree, 1 sky, 2 wall, and building is a car.
        label = np.asarray([2, 3, 1, 255, 0], np.uint8)[loaded(image).mask]
        Image.fromarray(image).save(root / "data/images" / f"{i}.png")
        Image.fromarray(label).save(root / "data/masks" / f"{i}.png")
    return model, root / "data"


def test_only_the_classes_of_the_dataset_are_scored(scored, tmp_path, capsys):
    model, root = scored
    argv = ["evaluate", f"--model={model}", f"--config.data.root={root}", f"--out={tmp_path}"]
    argv += ["--config.data.class_names=tree,sky,wall,car"]
    assert cli.main(argv) == 2
    assert "the model has no class car" in capsys.readouterr().err
    assert cli.main([*argv, "--class-map=car=building"]) == 0
    out = capsys.readouterr().out
    assert "tree: tree, sky: sky, wall: wall, car: building" in out
    assert "3 images are scored (all of them)" in out
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert metrics["mean_iou"] == 1
    assert [name for name in metrics if name.startswith("iou/")] == [
        "iou/wall",
        "iou/building",
        "iou/sky",
        "iou/tree",
    ]
    assert cli.main([*argv, "--class-map=car=sky,tree=ignore"]) == 0  # wrong on purpose
    metrics = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert 0 < metrics["iou/sky"] < 1
    assert metrics["iou/wall"] == 1
    # Predictions of a building, which is not scored, do not count as a class of IoU 0.
    assert metrics["mean_iou"] == pytest.approx((1 + metrics["iou/sky"]) / 2)
    page = (tmp_path / "report.html").read_text()
    assert f"<small>mean IoU</small><b>{100 * metrics['mean_iou']:.2f}</b>" in page
    assert "trained by another library" in page
    assert "Evaluated images" in page


def test_out_is_needed(scored, capsys):
    model, root = scored
    assert cli.main(["evaluate", f"--model={model}", f"--config.data.root={root}"]) == 2
    assert "--out: is needed" in capsys.readouterr().err
