"""The split stored in a workdir: resuming and evaluating a run."""

import json
import os
import shutil

import numpy as np
import pytest
from data_keys import set_data

from fcnjax import cli
from fcnjax.config import flatten, load_config
from fcnjax.data import open_source
from fcnjax.data.splits.stored_split import SPLIT_FILE, read_split
from fcnjax.errors import UserError
from fcnjax.evaluation.scored_images import open_scored
from fcnjax.reports.comparison import as_table, differences_to_first, read_runs
from fcnjax.reports.folds import summarise
from fcnjax.training.resume import prepare_run
from fcnjax.training.workdir import CONFIG_FILE, load_saved_config


@pytest.fixture
def root(shapes, tmp_path):
    return shutil.copytree(shapes, tmp_path / "set")


def start_run(config, workdir):
    """Start a run without taking a step."""
    run = prepare_run(config, workdir)
    assert run.is_new
    run.save()
    (workdir / "metrics.jsonl").write_text("")
    return run


def add_images(root, *names):
    for folder, end in (("images", "jpg"), ("masks", "png")):
        for number, name in enumerate(names):
            source = (root / folder / f"picture{number:02}.{end}").read_bytes()
            (root / folder / f"{name}.{end}").write_bytes(source + b"0")  # another file


def names(run, part):
    return [e["name"] for e in open_source(run.config, part, run.sets)]


def test_resumed_run_keeps_its_split_and_resolved_config(root, tmp_path):
    config = load_config(f"folder:minutes=0,root={root}")
    run = start_run(config, tmp_path / "run")
    held_out = names(run, "eval")
    assert read_split(tmp_path / "run")[0].parts["eval"][0].names[0] == f"images/{held_out[0]}.jpg"
    # A new mask has a new class.
    add_images(root, "a", "b")
    from PIL import Image

    Image.fromarray(np.full((45, 53), 7, np.uint8)).save(root / "masks/a.png")
    config.train.steps += 1
    config.data.loading.on_error = "skip"
    again = prepare_run(config, tmp_path / "run")
    assert not again.is_new
    assert (names(again, "train"), names(again, "eval")) == (names(run, "train"), held_out)
    assert again.notes[0] == (
        f"{root}: 8 training images, 2 held out: the split with which the run began"
    )
    assert "2 new images (images/a.jpg, images/b.jpg) are not used" in again.notes[1]
    differing = {
        key for key, value in flatten(run.config).items() if flatten(again.config)[key] != value
    }
    assert differing == {"train.steps", "data.loading.on_error"}
    # A new run uses them.
    config.data.labels.mask_values = (0, 1, 2, 7)
    assert len(names(start_run(config, tmp_path / "new"), "train")) == 10


def test_other_config_is_an_error_with_the_key(root, tmp_path):
    config = load_config(f"folder:minutes=0,root={root}")
    run = start_run(config, tmp_path / "run")
    prepare_run(run.config, tmp_path / "run")  # the resolved config is accepted, too
    for key, value in (
        ("data.split.seed", 3),
        ("train.steps", 1),
        ("data.labels.mask_values", (0, 1)),
    ):
        other = config.copy_and_resolve_references()
        other.update_from_flattened_dict({key: value})
        with pytest.raises(UserError, match=rf"contains a run with config.{key} = .* has"):
            prepare_run(other, tmp_path / "run")


def test_failed_start_stores_nothing(root, tmp_path):
    config = load_config(f"folder:minutes=0,root={root}")
    start_run(config, tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").unlink()
    add_images(root, "a", "b")
    again = prepare_run(config, tmp_path / "run")
    assert again.is_new
    assert len(names(again, "train")) == 10


@pytest.mark.parametrize("relative", [False, True])
def test_moved_dataset_of_the_same_files_is_accepted(root, tmp_path, monkeypatch, relative):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.move(root, "set")
    root_argument = "set" if relative else str(tmp_path / "here/set")
    run = start_run(load_config(f"folder:minutes=0,root={root_argument}"), tmp_path / "run")
    before = names(run, "train")
    shutil.copytree("set", tmp_path / "there/set", copy_function=shutil.copy)
    shutil.rmtree("set")
    monkeypatch.chdir(tmp_path / "there")
    config = load_config("folder:minutes=0,root=set")
    again = prepare_run(config, tmp_path / "run")
    assert again.config.data.root == str(tmp_path / "there/set")
    assert names(again, "train") == before
    again.save()
    assert load_saved_config(tmp_path / "run").data.root == str(tmp_path / "there/set")
    mask = read_split(tmp_path / "run")[0].parts["train"][0].names[1]
    # Files of other contents at another path are another dataset.
    (tmp_path / "third").mkdir()
    shutil.copytree("set", tmp_path / "third/set")
    path = tmp_path / "third/set" / mask
    path.write_bytes(path.read_bytes()[:-1] + b"1")
    with pytest.raises(
        UserError, match=rf"config.data.root: .*third/set contains other .* {mask} d"
    ):
        prepare_run(load_config(f"folder:minutes=0,root={tmp_path}/third/set"), tmp_path / "run")
    with pytest.raises(UserError, match=r"config.data.root: '.*there/nowhere' is not a folder"):
        prepare_run(load_config("folder:minutes=0,root=nowhere"), tmp_path / "run")


def test_moved_folders_and_lists_are_accepted(root, tmp_path, monkeypatch):
    config = load_config(f"folder:minutes=0,root={root}", [f"--config.data.images={root}/images"])
    before = names(start_run(config, tmp_path / "run"), "train")
    shutil.move(root / "images", tmp_path / "photos")
    config.data.images = str(tmp_path / "photos")
    again = prepare_run(config, tmp_path / "run")
    assert names(again, "train") == before
    # A list without a root is in the folder of its files.
    rows = [f"{p},masks/{p.stem}.png" for p in sorted((tmp_path / "photos").iterdir())]
    (tmp_path / "photos").rename(root / "images")
    rows = [row.replace(str(tmp_path / "photos"), "images") for row in rows]
    (root / "list.csv").write_text("\n".join(["image,mask", *rows]))
    monkeypatch.chdir(root)
    config = load_config("folder:minutes=0,root=.", ["--config.data.source=listing"])
    set_data(config, root="", annotations="list.csv")
    before = names(start_run(config, tmp_path / "listed"), "train")
    monkeypatch.chdir(tmp_path)
    root.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    again = prepare_run(config, tmp_path / "listed")
    assert again.config.data.root == str(tmp_path / "moved")
    assert names(again, "train") == before


def test_mixed_datasets_keep_their_images(root, tmp_path):
    shutil.copytree(root, tmp_path / "more")
    config = load_config(f"folder:minutes=0,root={root}")
    config.data.sampling.mix = ((f"folder:root={tmp_path}/more", 0.5),)
    before = names(start_run(config, tmp_path / "run"), "train")
    assert len(before) == 16
    add_images(tmp_path / "more", "a", "b")
    again = prepare_run(config, tmp_path / "run")
    assert names(again, "train") == before
    assert any("more: has changed since the run began: 2 new" in note for note in again.notes)
    (tmp_path / "more").rename(tmp_path / "moved")
    config.data.sampling.mix = ((f"folder:root={tmp_path}/moved", 0.5),)
    again = prepare_run(config, tmp_path / "run")
    assert names(again, "train") == before
    config.data.sampling.mix = ((f"folder:root={tmp_path}/moved", 0.25),)
    with pytest.raises(UserError, match=r"contains a run with config.data.sampling.mix"):
        prepare_run(config, tmp_path / "run")


def test_run_of_an_earlier_version_is_resumed(root, tmp_path):
    config = load_config(f"folder:minutes=0,root={root}")
    start_run(config, tmp_path / "run")
    (tmp_path / "run" / SPLIT_FILE).unlink()
    saved = json.loads((tmp_path / "run" / CONFIG_FILE).read_text())
    del saved["requested"]
    (tmp_path / "run" / CONFIG_FILE).write_text(json.dumps(saved))
    again = prepare_run(config, tmp_path / "run")
    assert not again.is_new
    assert "contains no split, as runs of earlier versions" in again.notes[-1]
    again.save()
    assert scored(tmp_path / "run")[1] is None  # still unknown after resuming
    assert "with which the run began" in prepare_run(config, tmp_path / "run").notes[0]


def scored(workdir, *overrides, **options):
    """Return the names of the scored images, those trained on, and the notes as one text."""
    from fcnjax.config import override

    saved = load_saved_config(workdir)
    config = saved.copy_and_resolve_references()
    for word in overrides:
        override(config, f"--config.data.{word}")
    images = open_scored(config, saved, [str(workdir)], **options)
    assert len(images.source) == len(images.names)
    return images.names, images.trained_on, "\n".join(images.notes)


def test_evaluation_scores_the_held_out_images(root, tmp_path):
    workdir = tmp_path / "run"
    run = start_run(load_config(f"folder:minutes=0,root={root}"), workdir)
    held_out = tuple(f"images/{name}.jpg" for name in names(run, "eval"))
    trained = tuple(f"images/{name}.jpg" for name in names(run, "train"))
    assert scored(workdir) == (held_out, (), "")
    add_images(root, "a", "b", "c")
    names_scored, trained_on, notes = scored(workdir)
    assert (names_scored, trained_on) == (held_out, ())
    assert "has changed since the run began: 3 new images" in notes
    assert "--new-images scores only them" in notes
    assert scored(workdir, new=True)[:2] == (("images/a.jpg", "images/b.jpg", "images/c.jpg"), ())
    # With another split, the scored images that were trained on are counted.
    names_scored, trained_on, notes = scored(workdir, "split.seed=1")
    assert trained_on == tuple(name for name in names_scored if name in trained)
    assert trained_on
    assert (
        f"warning: {len(trained_on)} of {len(names_scored)} scored images were trained on" in notes
    )
    # A copy of the files is the same dataset; other files are another one.
    other = shutil.copytree(root, tmp_path / "other", copy_function=shutil.copy)
    names_scored, trained_on, notes = scored(workdir, f"root={other}")
    assert (names_scored, trained_on) == (held_out, ())
    assert f"{other}: the images that the run held out are scored (they are those of" in notes
    # Masks of another annotator do not change the images.
    shutil.copytree(root / "masks", root / "second")
    names_scored, trained_on, notes = scored(workdir, "masks=second")
    assert (names_scored, trained_on) == (held_out, ())
    assert "contents" not in notes
    shutil.rmtree(root / "second")
    (other / held_out[0]).unlink()
    (other / held_out[0].replace("images", "masks").replace("jpg", "png")).unlink()
    names_scored, trained_on, notes = scored(workdir, f"root={other}")
    assert trained_on == tuple(name for name in names_scored if name in trained)
    assert f"{other}: is not the dataset of the run ({root})" in notes


def test_training_images_of_all_ensemble_members_count(root, tmp_path):
    workdirs = []
    for fold in range(2):
        options = ["--config.data.split.folds=2", f"--config.data.split.fold={fold}"]
        workdirs.append(tmp_path / f"fold{fold}")
        start_run(load_config(f"folder:minutes=0,root={root}", options), workdirs[-1])
    saved = load_saved_config(workdirs[0])
    images = open_scored(saved, saved, list(map(str, workdirs)))
    assert images.trained_on == images.names  # by the other member


def test_model_without_a_split_has_a_note(root, tmp_path):
    start_run(load_config(f"folder:minutes=0,root={root}"), tmp_path / "run")
    (tmp_path / "run" / SPLIT_FILE).unlink()
    names_scored, trained_on, notes = scored(tmp_path / "run")
    assert len(names_scored) == 2
    assert trained_on is None
    assert "contains no split" in notes
    with pytest.raises(UserError, match="--new-images: needs a run with a split"):
        scored(tmp_path / "run", new=True)


def write_scores(workdir, **more):
    names = list(load_saved_config(workdir).data.class_names)
    confusion = np.eye(len(names), dtype=int).tolist()
    content = {"step": 1, "metrics": {"mean_iou": 0.5}, "confusion": confusion, **more}
    (workdir / "metrics.json").write_text(json.dumps({"class_names": names, **content}))


def test_folds_of_other_images_are_an_error(root, tmp_path):
    workdirs = [tmp_path / f"fold{fold}" for fold in range(2)]
    for fold, workdir in enumerate(workdirs):
        options = ["--config.data.split.folds=2", f"--config.data.split.fold={fold}"]
        start_run(load_config(f"folder:minutes=0,root={root}", options), workdir)
        write_scores(workdir, trained_on=0)
    assert summarise(workdirs)["folds"] == [0, 1]
    write_scores(workdirs[1], trained_on=3)
    with pytest.raises(UserError, match="scored 3 images that it was trained on"):
        summarise(workdirs)
    add_images(root, "a", "b")
    shutil.rmtree(workdirs[1])
    start_run(load_config(f"folder:minutes=0,root={root}", options), workdirs[1])
    write_scores(workdirs[1])
    with pytest.raises(UserError, match=r"fold1: divided other images than .*fold0"):
        summarise(workdirs)


def test_train_and_evaluate_write_names_and_training_images(root, tiny_options, tmp_path, capsys):
    workdir, out = tmp_path / "run", tmp_path / "out"
    options = [*tiny_options, "--config.model.widths=4,8", "--config.optim.warmup_steps=0"]
    argv = ["train", f"--config=folder:minutes=0,root={root}", f"--workdir={workdir}", *options]
    assert cli.main([*argv, "--config.train.steps=2"]) == 0
    assert json.loads((workdir / "metrics.json").read_text())["trained_on"] == 0
    held_out = [one.title for one in read_split(workdir)[0].parts["eval"]]
    with np.load(workdir / "images.npz") as arrays:
        assert arrays["names"].tolist() == held_out
    os.utime(root / held_out[0], ns=(1, 1))
    argv = ["evaluate", f"--model={workdir}"]
    assert cli.main([*argv, f"--out={out}", "--config.data.split.folds=2"]) == 0
    captured = capsys.readouterr()
    assert "scored images were trained on" in captured.out
    content = json.loads((out / "metrics.json").read_text())
    assert content["trained_on"] == 5 - sum(
        name in held_out for name in np.load(out / "images.npz")["names"].tolist()
    )
    # Two runs are compared only on the same images.
    shutil.copy(workdir / CONFIG_FILE, out)
    runs = read_runs([workdir, out])
    assert differences_to_first(runs) == {}
    assert "scored images trained on" in as_table(runs, {})
    assert cli.main([*argv, "--new-images"]) == 2
    assert cli.main([*argv, "--new-images", f"--out={out}"]) == 2
    assert "has no images that were added" in capsys.readouterr().err
