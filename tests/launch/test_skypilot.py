"""launch/skypilot.yaml: its scripts run as on a node; SkyPilot, if installed, checks its keys."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "launch/skypilot.yaml"
TASK = yaml.safe_load(FILE.read_text())
TRAIN = "--config='a b' --workdir=/mnt/fcnjax/c --config.a.b=\"$DATA\""


@pytest.fixture
def node(project):
    """Run a script of the task as SkyPilot does: in the project, with SkyPilot's variables."""

    def run(part, **environment):
        script = f"cd '{project.root}'\n{TASK[part]}"
        variables = {
            "SKYPILOT_NUM_NODES": "1",
            "SKYPILOT_NODE_RANK": "0",
            "SKYPILOT_NODE_IPS": "10.0.0.1",
        }
        envs = {key: value for key, value in TASK["envs"].items() if value is not None}
        return project.paste(script, **{**variables, **envs, **environment})

    return run


def test_file_has_usage_and_strict_scripts():
    assert "Usage: sky jobs launch launch/skypilot.yaml" in FILE.read_text()
    for part in ("setup", "run"):
        assert TASK[part].startswith("set -euo pipefail\n")


@pytest.mark.parametrize("part", ["setup", "run"])
def test_shellcheck_finds_nothing(part):
    # SkyPilot sets the variables, and eval splits TRAIN into words.
    command = [Path(sys.executable).parent / "shellcheck", "--shell=bash", "--exclude=SC2154", "-"]
    done = subprocess.run(command, input=TASK[part], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_task_uses_spot_and_recovers():
    resources = TASK["resources"]
    assert resources["use_spot"] is True
    assert 143 in resources["job_recovery"]["recover_on_exit_codes"]
    # The bucket outlives the machines, and the user names it.
    assert TASK["file_mounts"]["/mnt/fcnjax"]["name"] == "${BUCKET}"
    assert TASK["envs"]["BUCKET"] is None


def test_train_is_split_like_a_shell(node):
    done = node("run", TRAIN=TRAIN, DATA="x y*")
    assert done.returncode == 0, done.stderr
    (call,) = done.calls
    assert call["words"] == [
        "train",
        "--config=a b",
        "--workdir=/mnt/fcnjax/c",
        "--config.a.b=x y*",
    ]
    assert not [key for key in call["environment"] if key.startswith("FCNJAX_")]


def test_nodes_get_their_process_index(node):
    several = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2"}
    for rank in "01":
        done = node("run", TRAIN=TRAIN, DATA="", SKYPILOT_NODE_RANK=rank, **several)
        assert {k: v for k, v in done.calls[0]["environment"].items() if "FCNJAX" in k} == {
            "FCNJAX_COORDINATOR": "10.0.0.1:55527",
            "FCNJAX_PROCESSES": "2",
            "FCNJAX_PROCESS": rank,
        }
    # The hosts of a TPU find each other.
    environment = node("run", TRAIN=TRAIN, DATA="", EXTRA="tpu", **several).calls[0]["environment"]
    assert environment["FCNJAX_COORDINATOR"] == "auto"
    assert "FCNJAX_PROCESS" not in environment


def test_workdir_outside_the_bucket_is_an_error(node, refused):
    refused(node("run", TRAIN="--config=a --workdir=runs/b"), "skypilot: error", "/mnt/fcnjax")
    refused(node("run", TRAIN=""), "--workdir")


def test_setup_installs(node, project):
    project.stand_in("uv", '#!/bin/sh\n[ "$2" = find ] && echo /python\nexit 0\n')
    done = node("setup", EXTRA="cuda13")
    assert done.returncode == 0, done.stderr
    assert [call["words"] for call in done.calls] == [["cuda13"]]


def test_skypilot_accepts_the_file():
    """Needs `pip install skypilot`: 460 MB with its dependencies, so it is not in the extra dev."""
    sky = pytest.importorskip("sky", exc_type=ImportError)
    variables = [("BUCKET", "my-runs"), ("TRAIN", "--config=a --workdir=/mnt/fcnjax/b")]
    # This checks the schema of the task and of each part.
    task = sky.Task.from_yaml_config(yaml.safe_load(FILE.read_text()), env_overrides=variables)
    (resources,) = task.resources
    assert resources.use_spot
    assert task.storage_mounts["/mnt/fcnjax"].name == "my-runs"
    wrong = {**TASK, "num_node": 2}
    with pytest.raises(ValueError, match="num_node"):
        sky.Task.from_yaml_config(wrong, env_overrides=variables)
