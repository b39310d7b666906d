"""`fcnjax evaluate` scores the masks that `fcnjax predict` writes."""

import json

import jax
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from fcnjax import cli, data, metrics
from fcnjax.config import default_config
from fcnjax.evaluation import Evaluator, read_images
from fcnjax.evaluation.compared_images import read_compared, select_compared, write_compared
from fcnjax.evaluation.evaluator import evaluate_predictor
from fcnjax.inference import load, load_variables
from fcnjax.inference.model import Prediction
from fcnjax.losses import make_loss
from fcnjax.parallel.mesh import make_mesh, mesh_of
from fcnjax.training.step import make_eval_step


@pytest.fixture(scope="module")
def workdir(copy_of_run):
    return copy_of_run()


def scored(workdir, out, *words):
    assert cli.main(["evaluate", f"--model={workdir}", f"--out={out}", *words]) == 0
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
    argv = ["predict", *images, f"--model={workdir}", f"--out={tmp_path}", "--outputs=mask"]
    assert cli.main([*argv, *options]) == 0
    total = metrics.ConfusionState(3)
    for place, name in enumerate(names):
        mask = np.asarray(Image.open(tmp_path / f"{name}_mask.png"))
        total.add(metrics.confusion_matrix(source[place]["label"], mask, 3, 255))
    assert found["confusion"] == total.counts.tolist()
    compared = read_compared(tmp_path)
    assert [each.name for each in compared] == [names[i] for i in select_compared(len(names), 4)]
    for each in compared:
        mask = np.asarray(Image.open(tmp_path / f"{each.name}_mask.png"))
        np.testing.assert_array_equal(each.prediction, mask)
        label = source[names.index(each.name)]["label"]
        np.testing.assert_array_equal(each.label, label)
        confusion = metrics.confusion_matrix(label, mask, 3, 255)
        expected = metrics.compute(confusion, config.data.class_names)["mean_iou"]
        assert each.score == pytest.approx(expected)
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
    # Only the logits of one model have a loss.
    assert plain["metrics"]["loss"] > 0
    assert "loss" not in other["metrics"]
    low, high = plain["intervals"]["mean_iou"]
    assert low <= plain["metrics"]["mean_iou"] <= high


def test_scores_of_an_ensemble_do_not_overwrite_those_of_its_first_model(workdir, capsys):
    assert cli.main(["evaluate", f"--model={workdir}", "--tta=vflip"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fcnjax: error: --out: give a folder")
    argv = ["evaluate", f"--model={workdir}", "--tta=vflip", "--out=o", "--config.mesh.data=1"]
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


def test_loss_is_the_mean_over_the_images(workdir):
    config, model, variables, _ = load_variables(workdir)
    config.loss.dice = 0.0
    source = Unlabelled(data.open_source(config, "train"), 2)
    alone, expected = load(workdir), []
    for place in range(len(source)):
        example = source[place]
        # Cross-entropy at the size of the label, of an image without padding.
        given = alone(example["image"]).probabilities
        of_label = np.take_along_axis(given, example["label"][..., None].astype(int) % 255, -1)
        expected.append(-np.log(of_label.astype(np.float64)).mean())
    del expected[2]
    for batch_size in (3, 4):  # both fill up their last batch
        config.eval.batch_size = batch_size
        results = Evaluator(model, config, make_mesh(config), source)(variables)
        assert results.loss == pytest.approx(np.mean(expected), rel=1e-4)
    assert results.summary["loss"] == results.loss
    # Dice is summed over single images as well, so that batches do not matter.
    config.loss.dice = 0.5
    losses = []
    for batch_size in (3, 4):
        config.eval.batch_size = batch_size
        losses.append(Evaluator(model, config, make_mesh(config), source)(variables).loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert 0 < losses[0] - results.loss < 0.5


class Scaled(nn.Module):
    """A model whose logits are the normalised image."""

    @nn.compact
    def __call__(self, image, train, extent=None):
        return {"logits": image, "aux": {"side": -image}}


def test_loss_of_an_image_does_not_depend_on_padding_or_its_batch():
    config = default_config()
    config.data.class_names, config.data.mean, config.data.std = (
        ("a", "b", "c"),
        (0.5,) * 3,
        (1,) * 3,
    )
    config.loss.aux = 1.0
    for name in ("lovasz", "boundary", "ohem_cross_entropy", "dice"):
        config.loss[name] = 1.0
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    label = rng.integers(0, 3, (2, 16, 16)).astype(np.uint8)
    part = slice(1, 2), slice(10), slice(12)
    label[1, 10:], label[1, :, 12:] = 255, 255
    step = make_eval_step(Scaled(), config, mesh_of(jax.devices()[:1], data=1))
    counts, _ = jax.device_get(
        step({}, {"image": image, "label": label, "valid": np.ones(2, bool)})
    )
    batch = {"image": image[part], "label": label[part], "valid": np.ones(1, bool)}
    alone, _ = jax.device_get(step({}, batch))
    assert counts["losses"][1] == pytest.approx(float(alone["losses"][0]), rel=1e-5)
    # The loss of training, without its auxiliary heads.
    outputs = {"logits": image[part] / 255 - 0.5, "aux": {}}
    expected, _ = jax.jit(make_loss(config))(outputs, label[part])
    assert alone["losses"][0] == pytest.approx(float(expected), rel=1e-5)


class Unlabelled:
    """A source with one image whose pixels are all ignored."""

    def __init__(self, source, place):
        self.class_names, self._source, self._place = source.class_names, source, place

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        example = dict(self._source[index])
        if index == self._place:
            example["label"] = np.full_like(example["label"], 255)
        return example

    def size(self, index):
        return self._source.size(index)


def test_compared_images_are_evenly_spaced():
    assert select_compared(100, 4) == [0, 33, 66, 99]
    assert select_compared(3, 4) == [0, 1, 2]
    assert len(select_compared(100, 1000)) == 8
    assert select_compared(100, 0) == select_compared(0, 4) == []


def test_compared_images_are_shrunk(tmp_path):
    label = np.arange(600 * 1200).reshape(600, 1200) % 3
    large = {"name": "a", "score": 0.5, "image": np.zeros((600, 1200, 1), np.uint16)}
    small = {"name": "b", "score": np.nan, "image": np.full((2, 3, 3), 7, np.uint8)}
    write_compared(
        tmp_path,
        [
            {**large, "label": label, "prediction": 300 * label},
            {**small, "label": label[:2, :3], "prediction": label[:2, :3]},
        ],
    )
    one, other = read_compared(tmp_path)
    assert one.image.shape == (240, 480, 3)
    # Nearest: the middle of each 2.5 x 2.5 pixels.
    np.testing.assert_array_equal(one.label[0, :4], label[1, [1, 3, 6, 8]])
    np.testing.assert_array_equal(one.prediction, 300 * one.label.astype(int))
    np.testing.assert_array_equal(other.image, small["image"])
    np.testing.assert_array_equal(other.label, label[:2, :3])
    assert (one.score, np.isnan(other.score)) == (0.5, True)
    write_compared(tmp_path, [])
    assert read_compared(tmp_path) == ()


class Noise:
    """A source of random images of several sizes, with random labels."""

    class_names, sizes = ("a", "b"), ((20, 31), (33, 18), (40, 40), (7, 90))

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (*self.sizes[index], 3), np.uint8)
        label = rng.choice(np.asarray([0, 1, 255], np.uint8), self.sizes[index])
        return {"image": image, "label": label, "name": str(index)}

    def size(self, index):
        return self.sizes[index]


def test_predictor_is_scored_by_one_program_for_all_sizes(caplog):
    config = default_config()
    config.data.class_names, config.eval.metrics = Noise.class_names, ("calibration_error", "auroc")

    def predict(image):
        second = (image[..., 0].astype(np.float32) + 1) / 257
        return Prediction((second > 0.5).astype(np.uint8), np.stack([1 - second, second], -1))

    with jax.log_compiles():
        results = evaluate_predictor(predict, config, Noise())
    compiled = [r for r in caplog.records if r.getMessage().startswith("Finished XLA compilation")]
    assert len(compiled) <= 1  # none if another test has compiled it
    confusion, counts = np.zeros((2, 2), int), metrics.ExtraScores(config, 4)
    for index, example in enumerate(Noise()):
        label, prediction = example["label"], predict(example["image"])
        matrix = metrics.confusion_matrix(label, prediction.mask, 2, 255)
        confusion += matrix
        expected = [np.diag(matrix), matrix.sum(1), matrix.sum(0)]
        np.testing.assert_array_equal(results.images[index], expected)
        batch = prediction.probabilities[None], label[None], 255, np.ones(1, bool)
        counts.add(metrics.device_counts(config.eval.metrics, *batch))
    np.testing.assert_array_equal(results.confusion, confusion)
    assert results.extra == counts.compute()


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
