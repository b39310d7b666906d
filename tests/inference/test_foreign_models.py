"""Published models contain no paths of their author, and paths in them are not read."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from data_keys import set_data

from fcnjax import cli, data
from fcnjax.config import default_config, flatten, load_config
from fcnjax.config.schema import KEYS
from fcnjax.errors import UserError
from fcnjax.inference.identity import find_model
from fcnjax.io.json_files import read_json
from fcnjax.publishing.publish import publish
from fcnjax.training.workdir import (
    LOCATION_KEYS,
    MACHINE_KEYS,
    MACHINE_KEYS_IF_PATH,
    load_saved_config,
    save_config,
)

# Text keys that are no path or URL: names from tables, options of the model, class names.
NAMES = {
    "model": "encoder decoder head norm encoder_norm activation dtype downsample padding skip "
    "upsample attention merge encoder_form dilation_rule widths decoder_widths decoder_depths "
    "atrous_rates encoder_options decoder_options",
    "data": "source mask_suffix class_names palette channels pages pixel_type mean std",
    "data.split": "by group_by",
    "data.labels": "encoding mask_values mask_colours mask_names ignore_values mask_exif label_map "
    "mirror_pairs",
    "data.loading": "on_error",
    "data.coco": "crowd boxes",
    "data.geotiff": "window",
    "data.nifti": "orientation intensity",
    "augment": "crop scale",
    "plan": "auto",
    "loss": "class_weights balance",
    "optim": "name schedule milestones freeze multipliers",
    "eval": "metrics spacing best_metric",
    "eval.resize": "rule size filter crop pad",
}
SECRET = "alices-secret"


def test_every_text_key_is_classified():
    texts = {name for name, key in KEYS.items() if key.value_type in (str, tuple)}
    names = {f"{section}.{key}" for section, keys in NAMES.items() for key in keys.split()}
    places = {*MACHINE_KEYS, *MACHINE_KEYS_IF_PATH} - {"data.loading.workers"}
    assert not names & places
    assert texts == names | places
    assert {*LOCATION_KEYS} <= places


@pytest.fixture(scope="module")
def workdir(shapes, tiny_options, tmp_path_factory, make_run):
    folder = tmp_path_factory.mktemp("runs") / "shapes"
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    make_run(folder, config)
    assert cli.main(["evaluate", f"--model={folder}"]) == 0
    return folder


def name_places(config, folder):
    """Set every key that may be a path to one below a folder, and the keys of the machine."""
    others = {"mix": ((f"{folder}/config.py", 1.0),), "cache": "disk", "workers": 3}
    for key in (*MACHINE_KEYS, *MACHINE_KEYS_IF_PATH):
        leaf = key.rpartition(".")[2]
        config.update_from_flattened_dict({key: others.get(leaf, f"{folder}/{leaf}")})
    return config


def test_published_model_contains_nothing_of_the_machine(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "run")
    config = name_places(load_saved_config(workdir), f"/home/{SECRET}")
    config.data.annotations = f"https://{SECRET}.example/list.json"
    save_config(tmp_path / "run", config, requested=config.to_dict())
    scores = read_json(workdir / "metrics.json")
    scores |= {"split": f"/home/{SECRET}/lists/val", "images": [f"/home/{SECRET}/a.png"]}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(scores))
    for file in ("split.json", "images.npz", "examples.npz", "report.html"):
        (tmp_path / "run" / file).write_text(SECRET)
    publish(tmp_path / "run", tmp_path / "out")
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    for word in (SECRET, str(tmp_path), str(workdir.parent)):
        assert word.encode() not in content
    saved, defaults = (flatten(c) for c in (load_saved_config(tmp_path / "out"), default_config()))
    for key in (*MACHINE_KEYS, *MACHINE_KEYS_IF_PATH):
        assert saved[key] == defaults[key]
    assert read_json(tmp_path / "out" / "metrics.json")["split"] == "val"


def test_relative_names_of_folders_and_splits_are_published(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "run")
    config = load_saved_config(workdir)
    set_data(config, images="im", masks="labels-ah", split_train="train[:80%]", split_eval="..")
    save_config(tmp_path / "run", config)
    publish(tmp_path / "run", tmp_path / "out")
    saved = load_saved_config(tmp_path / "out").data
    assert (saved.images, saved.masks) == ("im", "labels-ah")
    assert (saved.split.train, saved.split.eval) == ("train[:80%]", "val")


def test_scores_of_averaged_predictions_are_not_published(workdir, tmp_path):
    shutil.copytree(workdir, tmp_path / "run")
    scores = read_json(workdir / "metrics.json")
    scores["predicted"] = {"tta": ["hflip"], "workdirs": [f"/home/{SECRET}"]}
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(scores))
    lines = []
    publish(tmp_path / "run", tmp_path / "out", log=lines.append)
    assert len(lines) == 1
    assert "is not of a plain prediction" in lines[0]
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.fixture(scope="module")
def hostile(workdir, tmp_path_factory):
    """A published model whose config and split contain paths of a folder, FIFOs and a server."""
    root = tmp_path_factory.mktemp("hostile")
    publish(workdir, root / "model", log=lambda line: None)
    secret = root / SECRET
    secret.mkdir()
    for name in ("images", "masks", "root", "init_from", "list.json", "config.py", "val.txt"):
        os.mkfifo(secret / name)
    config = name_places(load_saved_config(root / "model"), secret)
    save_config(root / "model", config, requested=config.to_dict())
    stored = {"spec": f"{secret}/config.py", "data": config.data.to_dict(), "hashed_bytes": 9}
    stored |= {"from_start": True, "train": [], "eval": [], "files": []}
    split = {"format_version": 1, "sets": [stored]}
    (root / "model" / "split.json").write_text(json.dumps(split))
    return root


# Run commands; print files opened outside, connections, processes, and uses of the secret name.
CHILD = """
import json, sys
from pathlib import Path
from fcnjax import cli
from tests.fuzz.child import _Outside
work, secret, argvs = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
outside = _Outside(work)
accesses = []
def audit(event, args):
    if secret in repr(args) or event in ("socket.connect", "socket.getaddrinfo"):
        accesses.append(f"{event} {args!r}")
sys.addaudithook(audit)
codes = [cli.main(argv) for argv in argvs]
print(json.dumps({"codes": codes, "accesses": accesses + outside.found}))
"""


def run_watched(work, argvs):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", CHILD, str(work), SECRET, json.dumps(argvs)]
    environment = {**os.environ, "HOME": str(work), "TMPDIR": str(work)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_paths_in_a_published_model_are_not_read(hostile, shapes, tmp_path):
    model, work = hostile / "model", tmp_path / "work"
    shutil.copytree(model, work / "model")
    shutil.copytree(shapes, work / "shapes")
    config = load_saved_config(model)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/{SECRET}"
        argvs = []
        for source, name in (("folder", ""), ("hf", url), ("coco", ""), ("listing", "")):
            set_data(config, source=source, name=name, annotations=f"{url}/list.json")
            save_config(work / source, config)
            for file in ("model.safetensors", "split.json"):
                shutil.copy(model / file, work / source / file)
            argvs.append(["evaluate", f"--model={work / source}"])
        root = f"--config.data.root={work / 'shapes'}"
        argvs.append(["evaluate", f"--model={work / 'model'}", root])
        image = str(work / "shapes" / "images" / "picture00.jpg")
        argvs.append(["predict", f"--model={work / 'model'}", image, f"--out={work / 'out'}"])
        argvs.append(["publish", f"--model={work / 'model'}", f"--out={work / 'again'}"])
        config = f"--config=folder:root={work / 'shapes'}"
        argvs.append(["train", config, f"--workdir={work / 'model'}"])
        report, errors = run_watched(work, argvs)
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert report["accesses"] == []
    assert report["codes"] == [2, 2, 2, 2, 0, 0, 0, 2]
    lines = [line for line in errors.splitlines() if line.startswith("fcnjax: error: ")]
    assert len(lines) == 5
    assert all("names no images to score; give their folder" in line for line in lines[:4])
    assert "contains a published model" in lines[4]


def test_regular_expression_in_a_published_model_is_not_used(workdir, shapes, tmp_path, capsys):
    publish(workdir, tmp_path / "model", log=lambda line: None)
    config = load_saved_config(tmp_path / "model")
    config.data.split.group_by = r"(p|pi|pic|c|t|u|r|e)*!(\d+)"
    save_config(tmp_path / "model", config)
    argv = ["evaluate", f"--model={tmp_path / 'model'}", f"--config.data.root={shapes}"]
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--config.data.split.group_by: " in line
    assert "groups images by the regular expression" in line
    assert cli.main([*argv, r"--config.data.split.group_by=(\d+)"]) == 0


def test_folder_with_checkpoints_is_a_workdir(workdir):
    model = find_model(workdir)
    assert model.file is None
    assert model.published is None
    assert model.config.data.root == load_saved_config(workdir).data.root
    with pytest.raises(UserError, match="is not a workdir"):
        find_model(workdir.parent)
