"""Training, evaluation, prediction and serving of more classes than 8 bits hold."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli, load
from fcnjax.config import default_config
from fcnjax.evaluation import read_images, read_scores
from fcnjax.evaluation.results import MAX_BYTES, Results, write_results
from fcnjax.inference.model import Prediction
from fcnjax.serving.images import mask_file

CLASSES = 300
SIZE = (32, 32)


def draw(index):
    """A label of which every class beyond 255 is seen in some image."""
    cells = np.random.default_rng(index).integers(0, CLASSES, (8, 8))
    cells.flat[:8] = 256 + (8 * index + np.arange(8)) % (CLASSES - 256)
    return cells.repeat(4, 0).repeat(4, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for index in range(8):
        label = draw(index)
        image = np.stack([label % 256, label // 256, 255 - label % 256], -1).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
        Image.fromarray(label.astype(np.uint16)).save(folder / "masks" / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def workdir(root, tiny_options):
    """A workdir after one training step and its evaluation."""
    options = [
        *tiny_options,
        f"--config.data.class_names={','.join(f'c{i}' for i in range(CLASSES))}",
        "--config.data.ignore_label=65535",
        "--config.train.batch_size=2",
        "--config.train.steps=1",
        "--config.optim.warmup_steps=0",
        "--config.eval.batch_size=2",
    ]
    folder = root / "run"
    assert cli.main(["train", f"--config=folder:root={root}", f"--workdir={folder}", *options]) == 0
    return folder


def test_every_class_is_trained_on_evaluated_and_predicted(root, workdir, tmp_path):
    scores = read_scores(workdir)
    labelled = np.asarray(scores["confusion"]).sum(1)
    counts, names = read_images(workdir, CLASSES)
    labels = [draw(int(Path(name).stem)) for name in names]
    expected = np.bincount(np.ravel(labels), minlength=CLASSES)
    np.testing.assert_array_equal(labelled, expected)
    np.testing.assert_array_equal(counts[:, 1].sum(0), expected)
    options = ["--outputs=mask,overlay,components", f"--out={tmp_path}"]
    assert cli.main(["predict", str(root / "images"), f"--model={workdir}", *options]) == 0
    model = load(workdir)
    for index in range(2):
        with Image.open(root / "images" / f"{index}.png") as file:
            prediction = model(np.asarray(file))
        with Image.open(tmp_path / f"{index}_mask.png") as file:
            mask = np.asarray(file)
        assert mask.dtype == prediction.mask.dtype == np.uint16
        np.testing.assert_array_equal(mask, prediction.mask)


def test_class_ids_of_16_bits_reach_files_and_answers(workdir):
    model = load(workdir)
    ids = draw(0).astype(np.uint16)
    assert ids.max() > 255
    answer = mask_file(model, np.zeros((*SIZE, 3), np.uint8), Prediction(ids, None))
    with Image.open(io.BytesIO(answer)) as file:
        np.testing.assert_array_equal(np.asarray(file), ids)


@pytest.mark.parametrize(("classes", "label"), [(256, 255), (2049, 65535)])
def test_what_cannot_work_is_refused(root, capsys, classes, label):
    names = ",".join(f"c{i}" for i in range(classes))
    options = [f"--config.data.class_names={names}", f"--config.data.ignore_label={label}"]
    values = f"--config.data.labels.mask_values={','.join(map(str, range(classes)))}"
    argv = ["train", f"--config=folder:root={root}", f"--workdir={root / 'none'}", *options]
    assert cli.main([*argv, values, "--config.plan.minutes=0"]) == 2
    message = capsys.readouterr().err
    valid = "valid: 256 to 2147483647" if classes == 256 else "2049 classes; at most 2048"
    assert valid in message


def test_files_of_an_evaluation_are_small_enough_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("fcnjax.evaluation.results.write_report", lambda *args: None)
    config = default_config()
    config.data.class_names = tuple(f"c{i}" for i in range(CLASSES))
    # The largest counts that are valid for as many classes as a model may have.
    confusion = np.full((CLASSES, CLASSES), 2**53 // 2048**2)
    images = np.ones((3, 3, CLASSES), np.int64)
    write_results(tmp_path, config, Results(confusion, config.data.class_names, images=images), 1)
    content = (tmp_path / "metrics.json").read_text()
    cells = len(content) - len(json.dumps({**json.loads(content), "confusion": []}, indent=2))
    assert cells / CLASSES**2 * 2048**2 < MAX_BYTES
    assert read_scores(tmp_path)["confusion"] == confusion.tolist()
    with np.load(tmp_path / "images.npz") as file:
        assert file["counts"].dtype == np.int32
    np.testing.assert_array_equal(read_images(tmp_path, CLASSES)[0], images)
