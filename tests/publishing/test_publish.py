"""A trained model as a folder to share."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from flax.traverse_util import flatten_dict
from huggingface_hub import ModelCard
from safetensors.numpy import load_file, save_file

import fcnjax
from fcnjax import cli, data
from fcnjax.config import load_config
from fcnjax.data.readers.decode import read_image
from fcnjax.errors import UserError
from fcnjax.evaluation.evaluate_model import _override
from fcnjax.inference import load_variables
from fcnjax.io.json_files import read_json
from fcnjax.models.pretrained.model_folder import read_variables
from fcnjax.models.pretrained.sources import fetch_weights
from fcnjax.publishing.publish import publish
from fcnjax.training.workdir import load_saved_config

STEPS = (10, 20)


@pytest.fixture(scope="module")
def workdir(shapes, tiny_options, tmp_path_factory, make_run):
    """A run as training leaves it, with made weights: two checkpoints, the first the better."""
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    options = [*tiny_options, "--config.model.init_from=/home/me/secret.pth"]
    config, _ = data.resolve(load_config(f"folder:root={shapes}", options))
    config.data.class_names = ("ground", "disc | round", "bar")
    make_run(folder, config)
    assert cli.main(["evaluate", f"--model={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def published(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "a-model"
    argv = [f"--model={workdir}", f"--out={out}", "--license=apache-2.0", "--dataset=me/shapes"]
    assert cli.main(["publish", *argv]) == 0
    return out


def picture(shapes):
    return str(shapes / "images" / "picture00.jpg")


def test_folder_has_only_the_expected_files(published, workdir):
    assert sorted(path.name for path in published.iterdir()) == [
        "README.md",
        "config.json",
        "metrics.json",
        "model.safetensors",
    ]
    assert [path.name for path in published.parent.iterdir()] == ["a-model"]
    assert read_json(published / "metrics.json") == read_json(workdir / "metrics.json")
    config, trained = load_saved_config(published), load_saved_config(workdir)
    for key in ("class_names", "palette", "mean", "std", "channels", "labels.mask_values"):
        assert config.data[key] == trained.data[key]
    assert config.model.encoder == trained.model.encoder
    # Nothing of the machine that trained it.
    everything = b"".join(path.read_bytes() for path in published.iterdir())
    assert trained.data.root.encode() not in everything
    assert b"secret" not in everything


def test_arrays_equal_the_checkpoint(published, workdir):
    _, _, variables, step = load_variables(workdir, "best")
    assert step == STEPS[0]
    tensors = load_file(published / "model.safetensors")
    flat = flatten_dict(jax.device_get(variables), sep="/")
    assert tensors.keys() == flat.keys()
    assert {name.split("/")[0] for name in tensors} == {"params", "batch_stats"}
    for name, array in flat.items():
        np.testing.assert_array_equal(tensors[name], array)


def test_predictions_are_bit_identical(published, workdir, shapes, tmp_path):
    ours, theirs = fcnjax.load(published), fcnjax.load(workdir)
    assert (ours.step, ours.class_names) == (theirs.step, theirs.class_names)
    for image in (picture(shapes), np.full((7, 5, 3), 90, np.uint8)):
        found, wanted = ours(image), theirs(image)
        np.testing.assert_array_equal(found.mask, wanted.mask)
        np.testing.assert_array_equal(found.probabilities, wanted.probabilities)
    for name, folder in (("ours", published), ("theirs", workdir)):
        argv = ["predict", picture(shapes), f"--model={folder}", f"--out={tmp_path / name}"]
        assert cli.main(argv) == 0
    for file in ("picture00_mask.png", "picture00_overlay.png"):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "theirs" / file).read_bytes()
    assert read_image(tmp_path / "ours" / "picture00_mask.png", "RGB").shape == (45, 53, 3)


def test_evaluation_is_identical_given_the_images(published, workdir, shapes, tmp_path, capsys):
    argv = ["evaluate", f"--model={published}", f"--out={tmp_path}"]
    assert cli.main([*argv, f"--config.data.root={shapes}"]) == 0
    assert read_json(tmp_path / "metrics.json") == read_json(workdir / "metrics.json")
    assert (tmp_path / "report.html").is_file()
    for more, words in (
        ([], "names no images to score; give their folder"),
        (["--config.data.mean=0,0,0"], "unknown argument '--config.data.mean=0,0,0'"),
        (["--config.data.labels.mask_values=0,1"], "has 2 values, and the model has 3 classes"),
        (["--step=20"], "holds step 10 alone; valid: best, 10"),
    ):
        assert cli.main([*argv, *more]) == 2
        assert words in capsys.readouterr().err


def test_published_model_can_initialise_another(published):
    weights = fetch_weights(str(published))
    assert weights.is_model
    assert weights.path == published


def test_republishing_is_identical(published, tmp_path):
    publish(published, tmp_path / "again")
    for name in ("model.safetensors", "config.json", "metrics.json"):
        assert (tmp_path / "again" / name).read_bytes() == (published / name).read_bytes()


def test_card_is_valid_for_the_hub_with_measured_scores(published, workdir):
    card = ModelCard.load(published / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "fcnjax"
    assert card.data.pipeline_tag == "image-segmentation"
    assert card.data.datasets == ["me/shapes"]
    assert {"jax", "semantic-segmentation"} <= set(card.data.tags)
    assert card.data.model_name == "a-model"
    metrics = read_json(workdir / "metrics.json")["metrics"]
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results == {name: round(metrics[name], 4) for name in results}
    assert results.keys() >= {"mean_iou", "pixel_accuracy"}
    assert {result.dataset_name for result in card.data.eval_results} == {"me/shapes"}
    text = card.content
    assert "# a-model" in text
    assert "| 1 | disc \\| round | #" in text
    assert f" {100 * metrics['iou/ground']:.2f} |" in text
    assert "--model=MODEL" in text
    assert "`optim.lr` | `0.005`" in text
    assert "step 10" in text


@pytest.mark.parametrize("metric", ["iou/ground", "mean_iou"])
def test_card_includes_the_best_metric(workdir, tmp_path, metric):
    shutil.copytree(workdir, tmp_path / "run")
    saved = read_json(tmp_path / "run" / "config.json")
    saved["config"]["eval"]["best_metric"] = metric
    (tmp_path / "run" / "config.json").write_text(json.dumps(saved))
    scores = read_json(tmp_path / "run" / "metrics.json")
    scores["metrics"] |= {"iou/ground": 1e-5, "mean_dice": None}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps({**scores, "step": 20}))
    publish(tmp_path / "run", tmp_path / "out", 20, name='odd: "name" #1\n---')
    front = (tmp_path / "out" / "README.md").read_text().split("---\n")[1]
    (model,) = yaml.safe_load(front)["model-index"]
    assert model["name"] == 'odd: "name" #1\n---'
    figures = {m["type"]: m["value"] for m in model["results"][0]["metrics"]}
    assert (figures.get("iou/ground") == 0.0) == (metric == "iou/ground")
    assert "mean_dice" not in figures
    assert model["results"][0]["dataset"] == {"type": "folder", "name": "folder", "split": "val"}


def test_scores_of_another_step_are_omitted(workdir, tmp_path):
    lines = []
    publish(workdir, tmp_path / "out", "latest", log=lines.append)
    assert not (tmp_path / "out" / "metrics.json").exists()
    assert len(lines) == 1
    assert "is of step 10, but this is 20; `fcnjax evaluate" in lines[0]
    text = (tmp_path / "out" / "README.md").read_text()
    assert "model-index" not in text
    assert "license" not in text
    assert "not measured" in text
    assert fcnjax.load(tmp_path / "out").step == 20


def test_non_empty_folder_is_refused(workdir, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("out", "file"):
        assert cli.main(["publish", f"--model={workdir}", f"--out={tmp_path / name}"]) == 2
        assert f"--out: {tmp_path / name} exists and is not empty" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert cli.main(["publish", f"--model={workdir}", f"--out={tmp_path / 'empty'}"]) == 0
    out = capsys.readouterr().out
    assert f"hf upload OWNER/NAME {tmp_path / 'empty'}" in out


def test_failed_publication_leaves_nothing(workdir, tmp_path, monkeypatch):
    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fcnjax.publishing.publish.model_card", no_space)
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        publish(workdir, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    for bad, words in (("nowhere", "is not a workdir"), (tmp_path, "is not a workdir")):
        with pytest.raises(UserError, match=words):
            publish(bad, tmp_path / "out")


def changed(tensors, change):
    name = "params/head/kernel"
    name = name if name in tensors else next(n for n in tensors if n.endswith("kernel"))
    if change == "missing":
        del tensors[name]
    elif change == "extra":
        tensors["params/more/kernel"] = tensors[name]
    elif change == "shape":
        tensors[name] = tensors[name][..., :1].copy()
    else:
        tensors[name] = tensors[name].astype(np.float16)
    return tensors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", r"does not fit .*: 1 arrays missing from the file: params/.*kernel"),
        (
            "extra",
            r"does not fit .*: 1 arrays not in the model but .*: params/more/kernel",
        ),
        ("shape", r"params/.*kernel is float32 \(.*, and the model .* takes float32 \("),
        ("type", r"params/.*kernel is float16 .* takes float32"),
    ],
)
def test_mismatched_arrays_are_named(published, tmp_path, change, words):
    shutil.copytree(published, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    tensors = changed(load_file(path), change)
    save_file(tensors, path, metadata={"fcnjax": '{"format_version": 1, "step": 10}'})
    with pytest.raises(UserError, match=words) as error:
        fcnjax.load(tmp_path / "model")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "damaged or cut off"),
        (b"hello", "damaged or cut off"),
        (None, "damaged or cut off"),
        ({}, "is not a model that `fcnjax publish` wrote"),
        ({"fcnjax": "3"}, "damaged|not a model"),
        ({"fcnjax": "[" * 10_000}, "nested too deeply"),
        ({"fcnjax": "9" * 5000}, "beyond 64 bits"),
        ({"fcnjax": '{"format_version": 2}'}, "is not a model that `fcnjax publish` wrote"),
    ],
)
def test_invalid_model_file(published, tmp_path, content, words):
    path = tmp_path / "model.safetensors"
    if isinstance(content, dict):
        save_file({"a": np.zeros(2)}, path, metadata=content)
    else:
        whole = (published / "model.safetensors").read_bytes()
        path.write_bytes(whole[:-9] if content is None else content)
    with pytest.raises(UserError, match=words) as error:
        read_variables(path, {"params": {}})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "is not a config that fcnjax wrote"),
        ({"config": 3}, "is not a config that fcnjax wrote"),
        ({"config": {"train": {"steps": "many"}}}, "train.steps: is 'many'; valid: a whole number"),
    ],
)
def test_damaged_config_is_a_one_line_error(published, tmp_path, config, words):
    shutil.copytree(published, tmp_path / "model")
    content = {"format_version": 1, "fcnjax_version": "0", **config}
    (tmp_path / "model" / "config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"config\.json: {words}") as error:
        fcnjax.load(tmp_path / "model")
    assert "\n" not in str(error.value)


def test_hub_models_are_loaded_by_name(published, shapes, tmp_path, monkeypatch, capsys):
    asked = []

    def fetch(source):
        asked.append(source)
        return Path(published)

    monkeypatch.setattr("fcnjax.inference.identity.fetch_hub_model", fetch)
    argv = ["--model=hf://me/model", f"--out={tmp_path}"]
    assert cli.main(["predict", picture(shapes), *argv]) == 0
    assert fcnjax.load("hf://me/model").step == 10
    assert cli.main(["evaluate", *argv, f"--config.data.root={shapes}"]) == 0
    assert asked == ["hf://me/model"] * 3
    assert cli.main(["evaluate", argv[0], f"--config.data.root={shapes}"]) == 2
    assert "--out: is needed for the scores of hf://me/model" in capsys.readouterr().err


def test_sample_dataset_needs_no_folder(capsys):
    _override(load_config("biomedical_stare"), [], "runs/stare", print)
    assert capsys.readouterr().out == "images: stare\n"
