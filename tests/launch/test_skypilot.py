"""launch/skypilot.yaml: its scripts run as on a node, its keys checked where SkyPilot is."""

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
    """Runs a script of the task as SkyPilot does: in the project, with its variables."""

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


def test_it_says_how_to_use_it():
    assert "Usage: sky jobs launch launch/skypilot.yaml" in FILE.read_text()
    for part in ("setup", "run"):
        assert TASK[part].startswith("set -euo pipefail\n")


@pytest.mark.parametrize("part", ["setup", "run"])
def test_shellcheck_finds_nothing(part):
    # SkyPilot sets the variables, and TRAIN is made to words by eval.
    command = [Path(sys.executable).parent / "shellcheck", "--shell=bash", "--exclude=SC2154", "-"]
    done = subprocess.run(command, input=TASK[part], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_is_spot_and_recovers():
    resources = TASK["resources"]
    assert resources["use_spot"] is True
    assert 143 in resources["job_recovery"]["recover_on_exit_codes"]
    # The bucket outlives the machines, and is named by whoever launches.
    assert TASK["file_mounts"]["/mnt/fcnjax"]["name"] == "${BUCKET}"
    assert TASK["envs"]["BUCKET"] is None


def test_words_are_as_in_a_shell(node):
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


def test_several_nodes_are_told_their_place(node):
    several = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2"}
    for rank in "01":
        done = node("run", TRAIN=TRAIN, DATA="", SKYPILOT_NODE_RANK=rank, **several)
        assert {k: v for k, v in done.calls[0]["environment"].items() if "FCNJAX" in k} == {
            "FCNJAX_COORDINATOR": "10.0.0.1:55527",
            "FCNJAX_PROCESSES": "2",
            "FCNJAX_PROCESS": rank,
        }
    # The hosts of a TPU find one another.
    environment = node("run", TRAIN=TRAIN, DATA="", EXTRA="tpu", **several).calls[0]["environment"]
    assert environment["FCNJAX_COORDINATOR"] == "auto"
    assert "FCNJAX_PROCESS" not in environment


def test_a_workdir_that_would_be_lost_is_refused(node, refused):
    refused(node("run", TRAIN="--config=a --workdir=runs/b"), "skypilot: error", "/mnt/fcnjax")
    refused(node("run", TRAIN=""), "--workdir")


def test_setup_installs(node, project):
    project.stand_in("uv", '#!/bin/sh\n[ "$2" = find ] && echo /python\nexit 0\n')
    done = node("setup", EXTRA="cuda13")
    assert done.returncode == 0, done.stderr
    assert [call["words"] for call in done.calls] == [["cuda13"]]


def test_skypilot_takes_it():
    """Needs SkyPilot, 460 MB with all it brings: pip install skypilot; not in the extra dev."""
    sky = pytest.importorskip("sky", exc_type=ImportError)
    given = [("BUCKET", "my-runs"), ("TRAIN", "--config=a --workdir=/mnt/fcnjax/b")]
    # Checks its schema, and that of each part.
    task = sky.Task.from_yaml_config(yaml.safe_load(FILE.read_text()), env_overrides=given)
    (resources,) = task.resources
    assert resources.use_spot
    assert task.storage_mounts["/mnt/fcnjax"].name == "my-runs"
    wrong = {**TASK, "num_node": 2}
    with pytest.raises(ValueError, match="num_node"):
        sky.Task.from_yaml_config(wrong, env_overrides=given)
