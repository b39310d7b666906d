"""Training, evaluation and prediction end to end with the commands."""

import json
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

import fcnjax
from fcnjax import cli
from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.training.loop import TrainingStopped, train
from fcnjax.training.writers.metrics_file import read_metrics

ALL = "--outputs=mask,overlay,probabilities"


def run_train(root, workdir, *options):
    return cli.main(["train", f"--config=folder:root={root}", f"--workdir={workdir}", *options])


@pytest.fixture(scope="session")
def trained(shapes, tiny_options, tmp_path_factory, write_once):
    options = [*tiny_options, "--config.train.steps=60", "--config.train.tensorboard=true"]

    def write(workdir):
        assert run_train(shapes, workdir, "--config.train.save_every=30", *options) == 0

    return shutil.copytree(write_once("trained", write), tmp_path_factory.mktemp("runs") / "shapes")


def test_run_writes_metrics_checkpoints_and_report(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["metrics"]["mean_iou"] > 0.7
    assert np.asarray(metrics["confusion"]).shape == (3, 3)
    assert sorted(p.name for p in (trained / "checkpoints").iterdir()) == ["30", "60"]
    assert "<html" in (trained / "report.html").read_text().lower()
    assert any((trained / "tensorboard").iterdir())
    lines = read_metrics(trained)
    assert [line["step"] for line in lines] == list(range(5, 61, 5))
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert lines[-1]["eval/mean_iou"] == metrics["metrics"]["mean_iou"]


def test_evaluate_returns_the_scores_of_training(trained, capsys):
    before = json.loads((trained / "metrics.json").read_text())
    (trained / "metrics.json").unlink()
    assert cli.main(["evaluate", f"--model={trained}"]) == 0
    assert json.loads((trained / "metrics.json").read_text()) == before
    out = capsys.readouterr().out
    assert "class_2" in out
    assert "mean" in out.lower()


def test_evaluation_and_prediction_agree_to_the_pixel(trained, shapes):
    # Counts the confusion matrix again from masks that are predicted one by one.
    model = fcnjax.load(trained)
    config = model.config
    total = np.zeros((3, 3), np.int64)
    from fcnjax.data import open_source

    source = open_source(config, "eval")
    for i in range(len(source)):
        example = source[i]
        mask = model(example["image"], probabilities=False).mask
        np.add.at(total, (example["label"].ravel(), mask.ravel()), 1)
    assert total.tolist() == json.loads((trained / "metrics.json").read_text())["confusion"]


def test_model_predicts_images_of_any_size(trained):
    model = fcnjax.load(trained)
    assert model.class_names == ("class_0", "class_1", "class_2")
    assert model.step == 60
    rng = np.random.default_rng(0)
    for shape in ((45, 53), (7, 5), (1, 1), (130, 33)):
        image = rng.integers(0, 256, (*shape, 3), np.uint8)
        out = model(image)
        assert out.mask.shape == shape
        assert out.mask.dtype == np.uint8
        assert out.probabilities.shape == (*shape, 3)
        np.testing.assert_allclose(out.probabilities.sum(-1), 1, atol=1e-5)
        np.testing.assert_array_equal(out.probabilities.argmax(-1), out.mask)
        np.testing.assert_array_equal(model(image, probabilities=False).mask, out.mask)
        np.testing.assert_allclose(
            model(image.astype(np.float64) / 255).probabilities, out.probabilities, atol=1e-4
        )


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\)"),
        (np.zeros((4, 4, 3), bool), "type bool"),
        (np.full((4, 4, 3), -7), r"takes uint8 \(0 to 255\)"),
        (np.full((4, 4, 3), 7.5), "run from 7.5 to 7.5"),
        ("missing.png", "missing.png"),
    ],
)
def test_invalid_image_is_an_error(trained, image, words):
    with pytest.raises(UserError, match=words):
        fcnjax.load(trained)(image)


def test_predict_writes_masks_at_the_images_own_size(trained, shapes, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    first = Image.open(shapes / "images" / "picture00.jpg")
    first.save(folder / "first.png")
    first.resize((131, 77)).save(folder / "second.bmp")
    out = tmp_path / "out"
    argv = ["predict", str(folder), f"--model={trained}", f"--out={out}", ALL]
    assert cli.main(argv) == 0
    names = {"mask.png", "overlay.png", "probabilities.npy"}
    assert {p.name for p in out.iterdir()} == {
        f"{s}_{n}" for s in ("first", "second") for n in names
    }
    with Image.open(out / "second_mask.png") as mask:
        assert mask.mode == "P"
        mask = np.asarray(mask)
    assert mask.shape == np.asarray(Image.open(out / "second_overlay.png")).shape[:2] == (77, 131)
    assert set(np.unique(mask)) <= {0, 1, 2}
    probabilities = np.load(out / "second_probabilities.npy")
    assert probabilities.shape == (77, 131, 3)
    np.testing.assert_array_equal(probabilities.argmax(-1), mask)
    truth = np.asarray(Image.open(shapes / "masks" / "picture00.png"))
    assert (np.asarray(Image.open(out / "first_mask.png")) == truth).mean() > 0.9


def test_predict_refuses_files_of_the_same_name_and_damaged_files(
    trained, shapes, tmp_path, capsys
):
    for suffix in ("png", "bmp"):
        Image.open(shapes / "images" / "picture00.jpg").save(tmp_path / f"same.{suffix}")
    argv = ["predict", str(tmp_path), f"--model={trained}", f"--out={tmp_path / 'out'}"]
    assert cli.main(argv) == 2
    assert "same name" in capsys.readouterr().err
    (tmp_path / "same.bmp").unlink()
    (tmp_path / "same.png").write_bytes((tmp_path / "same.png").read_bytes()[:200])
    assert cli.main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert "same.png" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_four_images_are_memorised(tmp_path, tiny_options, head, make_folder):
    root = make_folder(tmp_path / "data", 4, values=(0, 255, 255))
    for name in ("train", "val"):
        (root / f"{name}.txt").write_text("".join(f"picture{i:02}\n" for i in range(4)))
    losses = {
        "softmax": ["--config.loss.dice=1"],
        "sigmoid": ["--config.loss.cross_entropy=0", "--config.loss.binary_cross_entropy=1"],
    }
    options = [*tiny_options, f"--config.model.head={head}", *losses[head]]
    options += ["--config.optim.name=muon", "--config.optim.lr=2e-2", "--config.train.steps=50"]
    config = load_config(f"folder:root={root}", options)
    config.augment.update(
        crop=(48, 56), scale=(1.0, 1.0), rotation=0.0, brightness=0.0, contrast=0.0, saturation=0.0
    )
    config.data.loading.cache = "device"
    config.data.check = False  # the lists are the same on purpose
    config.optim.ema_decay = 0.9
    metrics = train(config, tmp_path / "run")
    assert metrics["iou/foreground"] > 0.95
    assert metrics["mean_iou"] > 0.95


def test_finished_run_ends_at_once(trained, shapes, tiny_options, capsys):
    options = [*tiny_options, "--config.train.save_every=30"]
    assert run_train(shapes, trained, *options, "--config.train.steps=60") == 0
    assert "trained already, to step 60" in capsys.readouterr().out


def test_finished_run_continues_to_a_larger_step_and_names_the_learning_rates(
    trained, shapes, tiny_options, tmp_path, capsys
):
    workdir = shutil.copytree(trained, tmp_path / "longer")
    assert run_train(shapes, workdir, *tiny_options, "--config.train.steps=62") == 0
    lines = capsys.readouterr().out.splitlines()
    # Half a cosine after 55 of 57 steps, and after all of 55.
    assert (
        "note: config.train.steps is 62 now (60 before): the cosine schedule gives lr 1.517e-05 "
        "after step 60, it was 0"
    ) in lines
    assert read_metrics(workdir)[-1]["lr"] == pytest.approx(3.796e-06, rel=1e-3)
    assert any(line.startswith("trained 2 steps in 0:") for line in lines)
    assert f"next: fcnjax predict IMAGE --model={workdir} --out=masks" in "\n".join(lines)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--config.optim.lr=1e-4", ["config.optim.lr = 0.005", "0.0001"]),
        ("--config.train.steps=40", ["config.train.steps = 60"]),
        ("--config.train.seed=1", ["config.train.seed"]),
    ],
)
def test_other_config_in_the_same_workdir_is_an_error(
    trained, shapes, tiny_options, option, words, capsys
):
    options = [*tiny_options, "--config.train.steps=60", option]
    assert run_train(shapes, trained, *options) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert all(word in err for word in [str(trained), *words]), err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--config.train.batch_size=0", "config.train.batch_size"),
        ("--config.train.steps=0", "config.train.steps"),
        ("--config.model.encoder=resnet19", "resnet18"),
        ("--config.model.decoder=unett", "unet"),
        ("--config.optim.name=adam", "adamw, lamb, lion, muon, sgd"),
        ("--config.optim.schedule=cos", "cosine"),
        ("--config.data.loading.cache=ram", "config.data.loading.cache"),
        ("--config.data.channels=L", "config.data.mean"),
        ("--config.mesh.data=99", "config.mesh: data 99 x fsdp 1 x spatial 1"),
        ("--config.mesh.fsdp=0", "config.mesh.fsdp: 0 is not a number of 1 or more"),
        ("--config.data.source=folders", "folder"),
        ("--config.loss.dice=-1", "config.loss.dice"),
        ("--config.augment.scale=2,1", "config.augment.scale"),
    ],
)
def test_invalid_value_is_an_error_with_the_key(
    shapes, tmp_path, tiny_options, option, words, capsys
):
    options = [*tiny_options, "--config.train.steps=6", option]
    assert run_train(shapes, tmp_path / "run", *options) == 2
    err = capsys.readouterr().err.strip()
    assert words in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "run" / "config.json").exists()


def truncate_image(root):
    file = root / "images" / "picture03.jpg"
    file.write_bytes(file.read_bytes()[:-400])
    return file


def shrink_mask(root):
    file = root / "masks" / "picture03.png"
    Image.open(file).resize((20, 20), Image.Resampling.NEAREST).save(file)
    return file


def add_unknown_value(root):
    file = root / "masks" / "picture03.png"
    mask = np.array(Image.open(file))
    mask[0, 0] = 77
    Image.fromarray(mask).save(file)
    return file


def remove_mask(root):
    (root / "masks" / "picture03.png").unlink()
    return "picture03"


def remove_images(root):
    for file in (root / "images").iterdir():
        file.unlink()
    return root / "images"


@pytest.mark.parametrize(
    "damage", [truncate_image, shrink_mask, add_unknown_value, remove_mask, remove_images]
)
@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_data_is_a_one_line_error_with_the_file(
    tmp_path, make_folder, tiny_options, damage, workers, capsys
):
    root = make_folder(tmp_path / "data")
    named = damage(root)
    options = [
        *tiny_options,
        f"--config.data.loading.workers={workers}",
        "--config.data.labels.mask_values=0,1,2",
        "--config.train.steps=6",
    ]
    assert run_train(root, tmp_path / "run", *options) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1, err
    assert str(named) in err


def test_unwritable_workdir_is_an_error(shapes, tmp_path, tiny_options, capsys):
    (tmp_path / "file").write_text("in the way")
    options = [*tiny_options, "--config.train.steps=6"]
    assert run_train(shapes, tmp_path / "file" / "run", *options) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1, err
    assert str(tmp_path / "file") in err


def test_infinite_loss_stops_training(shapes, tmp_path, tiny_options, capsys):
    options = [*tiny_options, "--config.optim.name=sgd", "--config.optim.lr=1e38"]
    assert run_train(shapes, tmp_path / "run", *options) == 1
    err = capsys.readouterr().err
    assert "training cannot continue" in err
    assert "config.optim.lr" in err
    assert not any((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.usefixtures("default_signal_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_saves_and_stops(shapes, tmp_path, tiny_options, number):
    config = load_config(f"folder:root={shapes}", [*tiny_options, "--config.train.steps=100000"])
    workdir = tmp_path / "run"
    # If the training has ended before, the signal must not end the tests.
    signal.signal(number, lambda number, frame: None)

    def send():
        while not read_metrics(workdir):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=send, daemon=True).start()
    with pytest.raises(TrainingStopped, match=f"stopped by {number.name} at step") as stopped:
        train(config, workdir)
    assert stopped.value.code == 128 + number
    step = int(str(stopped.value).split("step ")[1].split(";")[0])
    assert (workdir / "checkpoints" / str(step) / "manifest.json").is_file()
    # The run wrote no more lines than an undisturbed one.
    assert [line["step"] for line in read_metrics(workdir)] == list(range(5, step + 1, 5))


def test_checkpoint_contains_batch_norm_statistics_and_average(trained):
    model = fcnjax.load(trained)
    means = [np.abs(x).max() for x in _leaves(model._variables["batch_stats"], "mean")]
    assert means
    assert min(means) > 0


def _leaves(tree, name):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, name)
        elif key == name:
            yield np.asarray(value)


def test_faulty_dataset_is_refused_unless_the_check_is_off(
    make_folder, tmp_path, tiny_options, capsys
):
    root = make_folder(tmp_path / "data", 6)
    for name in ("train", "val"):
        (root / f"{name}.txt").write_text("picture00\npicture01\npicture02\n")
    options = [*tiny_options, "--config.train.steps=6"]
    assert run_train(root, tmp_path / "run", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "leak: 3 images are in train and in eval" in line
    assert "--config.data.check=false" in line
    assert not (tmp_path / "run").exists()
    assert run_train(root, tmp_path / "run", *options, "--config.data.check=false") == 0


def test_prediction_and_evaluation_in_bfloat16(trained, shapes, tmp_path, capsys):
    image = next((shapes / "images").iterdir())
    argv = ["predict", f"--model={trained}", str(image), ALL]
    probabilities = {}
    for dtype in ("float32", "bfloat16"):
        assert cli.main([*argv, f"--out={tmp_path / dtype}", f"--dtype={dtype}"]) == 0
        probabilities[dtype] = np.load(tmp_path / dtype / f"{image.stem}_probabilities.npy")
    difference = np.abs(probabilities["float32"] - probabilities["bfloat16"]).max()
    assert 0 < difference < 0.1
    argv = ["evaluate", f"--model={trained}", f"--out={tmp_path}"]
    assert cli.main([*argv, "--dtype=bfloat16"]) == 0
    capsys.readouterr()
    assert cli.main([*argv, "--dtype=float16"]) == 2
    assert "dtype: unknown 'float16'" in capsys.readouterr().err
