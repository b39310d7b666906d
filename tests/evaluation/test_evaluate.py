"""`fcnjax evaluate` scores the masks that `fcnjax predict` writes."""

import json

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli, data, metrics
from fcnjax.evaluation import Evaluator, read_images
from fcnjax.inference import load_variables
from fcnjax.parallel.mesh import make_mesh


@pytest.fixture(scope="module")
def workdir(copy_of_run):
    return copy_of_run()


def scored(workdir, out, *words):
    assert cli.main(["evaluate", f"--workdir={workdir}", f"--out={out}", *words]) == 0
    return json.loads((out / "metrics.json").read_text())


def test_evaluate_scores_the_masks_that_predict_writes(workdir, shapes, tmp_path, capsys):
    options = ["--tta=hflip", "--threshold=class_1:0.2", "--smallest-region=9"]
    found = scored(workdir, tmp_path, *options, "--config.eval.metrics=calibration_error")
    assert found["predicted"] == {
        "tta": ["hflip"],
        "scales": [1.0],
        "dropout_samples": 0,
        "thresholds": ["class_1:0.2"],
        "smallest_region": 9,
        "largest_hole": 0,
        "workdirs": [str(workdir)],
    }
    config, *_ = load_variables(workdir)
    source = data.open_source(config, "eval")
    names = [source[place]["name"] for place in range(len(source))]
    images = [str(shapes / "images" / f"{name}.jpg") for name in names]
    argv = ["predict", *images, f"--workdir={workdir}", f"--out={tmp_path}", "--outputs=mask"]
    assert cli.main([*argv, *options]) == 0
    total = metrics.ConfusionState(3)
    for place, name in enumerate(names):
        mask = np.asarray(Image.open(tmp_path / f"{name}_mask.png"))
        total.add(metrics.confusion_matrix(source[place]["label"], mask, 3, 255))
    assert found["confusion"] == total.counts.tolist()
    assert 0 <= found["metrics"]["calibration_error"] <= 1
    capsys.readouterr()


def test_request_without_options_is_the_plain_evaluation(workdir, tmp_path):
    plain = scored(workdir, tmp_path / "plain")
    assert "predicted" not in plain
    confusion = np.asarray(plain["confusion"])
    counts, _ = read_images(tmp_path / "plain", len(confusion))
    assert len(counts) > 1
    expected = [np.diag(confusion), confusion.sum(1), confusion.sum(0)]
    np.testing.assert_array_equal(counts.sum(0), expected)
    # Filling holes of at most 0 pixels changes nothing, but uses the other implementation.
    other = scored(workdir, tmp_path / "other", "--scales=1,1", "--smallest-region=1")
    assert other["predicted"]["smallest_region"] == 1
    assert other["confusion"] == plain["confusion"]
    assert other["intervals"] == plain["intervals"]
    low, high = plain["intervals"]["mean_iou"]
    assert low <= plain["metrics"]["mean_iou"] <= high


def test_scores_of_an_ensemble_do_not_overwrite_those_of_its_first_model(workdir, capsys):
    assert cli.main(["evaluate", f"--workdir={workdir}", "--tta=vflip"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcnjax: error: --out: give a folder")
    argv = ["evaluate", f"--workdir={workdir}", "--tta=vflip", "--out=o", "--config.mesh.data=1"]
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--config.mesh.data=1: --tta and similar options" in line


def test_worst_images_are_kept_in_order(workdir, tiny_options):
    config, model, variables, _ = load_variables(workdir)
    config.eval.examples, config.eval.batch_size = 3, 2
    source = data.open_source(config, "train")
    results = Evaluator(model, config, make_mesh(config), source)(variables)
    by_name = {}
    for place in range(len(source)):
        config.eval.examples = 1
        one = Evaluator(model, config, make_mesh(config), Only(source, place))(variables)
        by_name[source[place]["name"]] = one.metrics["mean_iou"]
        if source[place]["name"] == results.examples[0]["name"]:
            kept = results.examples[0]["prediction"]
            np.testing.assert_array_equal(kept, one.examples[0]["prediction"])
    worst = sorted(by_name, key=by_name.__getitem__)[:3]
    assert [example["name"] for example in results.examples] == worst


class Only:
    """A source with a single example of another source."""

    def __init__(self, source, place):
        self.class_names, self._source, self._place = source.class_names, source, place

    def __len__(self):
        return 1

    def __getitem__(self, index):
        if index:
            raise IndexError(index)
        return self._source[self._place]

    def size(self, index):
        return self._source.size(self._place)
