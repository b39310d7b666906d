"""Configs of the first format: all keys of `config.data` stood at its top level."""

import json
import shutil
from pathlib import Path

import pytest

from fcnjax import cli
from fcnjax.config import flatten, load_config
from fcnjax.config.migrate import FORMAT_VERSION, MOVED, migrate_data
from fcnjax.config.schema import KEYS
from fcnjax.data.splits.stored_split import read_split
from fcnjax.errors import UserError
from fcnjax.training.resume import prepare_run
from fcnjax.training.workdir import (
    load_requested_config,
    load_saved_config,
    save_config,
)

SAVED = Path(__file__).parent / "fixtures" / "config_version_1.json"


@pytest.fixture
def workdir(tmp_path):
    shutil.copy(SAVED, tmp_path / "config.json")
    return tmp_path


def in_version_1(data):
    """Return a mapping of `config.data` as the first format had it."""
    old = {name: value for name, value in data.items() if not isinstance(value, dict)}
    for name, new in MOVED.items():
        section, leaf = new.split(".")
        old[name] = data[section][leaf]
    return old


def test_a_saved_config_is_read_under_the_present_names(workdir):
    saved = json.loads(SAVED.read_text())
    for config, section in (
        (load_saved_config(workdir), "config"),
        (load_requested_config(workdir), "requested"),
    ):
        data, old = config.data, saved[section]["data"]
        assert data.split.eval == old["eval_split"] == "test"
        assert data.labels.mask_values == tuple(old["mask_values"])
        assert data.loading.cache == old["cache"] == "device"
        assert data.nifti.axis == old["axis"]
        assert in_version_1(data.to_dict()).keys() == old.keys()


def test_a_config_is_saved_in_the_present_format_and_stays_equal(workdir):
    config = load_saved_config(workdir)
    save_config(workdir, config)
    saved = json.loads((workdir / "config.json").read_text())
    assert saved["format_version"] == FORMAT_VERSION
    assert "split" in saved["config"]["data"]
    assert flatten(load_saved_config(workdir)) == flatten(config)


def test_a_format_of_the_future_is_refused_by_name(workdir):
    saved = json.loads(SAVED.read_text())
    for version in (FORMAT_VERSION + 1, 0, "1", None, True):
        (workdir / "config.json").write_text(json.dumps({**saved, "format_version": version}))
        with pytest.raises(UserError, match=rf"config\.json: format_version is {version}; this"):
            load_saved_config(workdir)


def test_moved_names_are_keys_and_their_old_names_are_none():
    for old, new in MOVED.items():
        assert f"data.{new}" in KEYS
        assert f"data.{old}" not in KEYS
    assert migrate_data(3, 1) == 3
    assert migrate_data({"fold": 1}, FORMAT_VERSION) == {"fold": 1}


@pytest.mark.parametrize("command", ["train", "evaluate"])
@pytest.mark.parametrize("old", ["window", "split_by", "mask_values"])
def test_an_old_name_on_the_command_line_names_the_new_one(tmp_path, capsys, command, old):
    model = ["--config=folder", f"--workdir={tmp_path}"]
    if command == "evaluate":
        model = [f"--model={tmp_path}"]
    argv = [command, *model, f"--config.data.{old}=1"]
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"fcnjax: error: --config.data.{old}: is now --config.data.{MOVED[old]}"


def test_an_old_name_in_a_config_file_names_the_new_one(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from fcnjax.config import default_config\n"
        "def get_config(arg=None):\n"
        "    config = default_config()\n"
        "    config.data.fold = 1\n"
        "    return config\n"
    )
    with pytest.raises(UserError, match=r"mine\.py:4: config\.data\.fold: is now config\.data\."):
        load_config(str(path))


def test_a_run_of_the_first_format_resumes_and_is_evaluated(shapes, tiny_options, tmp_path):
    workdir, words = tmp_path / "run", [*tiny_options, "--config.train.steps=6"]
    argv = ["train", f"--config=folder:root={shapes}", f"--workdir={workdir}", *words]
    assert cli.main(argv) == 0
    path = workdir / "config.json"
    saved = json.loads(path.read_text()) | {"format_version": 1}
    for section in ("config", "requested"):
        saved[section]["data"] = in_version_1(saved[section]["data"])
    path.write_text(json.dumps(saved))
    split = json.loads((workdir / "split.json").read_text()) | {"format_version": 1}
    for one in split["sets"]:
        one["data"] = in_version_1(one["data"])
    (workdir / "split.json").write_text(json.dumps(split))

    assert read_split(workdir)[0].data.labels.mask_values
    assert cli.main(["evaluate", f"--model={workdir}"]) == 0
    assert not prepare_run(load_config(f"folder:root={shapes}", words), workdir).is_new
    assert cli.main([*argv, "--config.train.steps=7"]) == 0
    assert json.loads(path.read_text())["format_version"] == FORMAT_VERSION
    assert json.loads((workdir / "split.json").read_text())["format_version"] == FORMAT_VERSION
