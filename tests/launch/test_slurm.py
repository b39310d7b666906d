"""launch/slurm.sbatch: its directives, and runs with fakes of the SLURM programs."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "launch/slurm.sbatch"

# Starts the step twice with srun's variables, as srun does on two nodes.
SRUN = f"""#!{sys.executable}
import os, subprocess, sys
words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
step = {{"SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NODELIST": "node[1-2]"}}
codes = [
    subprocess.run(
        words, env={{**os.environ, **step, "SLURM_PROCID": str(i), "SLURM_LOCALID": "0"}}
    ).returncode
    for i in range(2)
]
sys.exit(max(codes))
"""
WORDS = ["--config=a", "--workdir=b"]


@pytest.fixture
def job(project):
    project.stand_in("srun", SRUN)
    project.stand_in("scontrol")
    project.stand_in("sleep")

    def run(*words, **environment):
        job = {"SLURM_JOB_ID": "17", "SLURM_SUBMIT_DIR": str(project.root)}
        return project.launch("slurm.sbatch", *words, **{**job, **environment})

    return run


def directives():
    lines = SCRIPT.read_text().splitlines()
    # sbatch stops reading directives at the first command.
    end = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    found = [line.split(maxsplit=1)[1] for line in lines if line.startswith("#SBATCH ")]
    assert found == [line.split(maxsplit=1)[1] for line in lines[:end] if "#SBATCH" in line]
    return dict(re.fullmatch(r"--([a-z-]+)(?:=(\S+))?", line).groups() for line in found)


def test_directives():
    found = directives()
    assert SCRIPT.read_text().startswith("#!/usr/bin/env bash\n")
    assert found["ntasks-per-node"] == "1"
    assert found["signal"] == "TERM@120"
    assert found["requeue"] is None
    assert found["open-mode"] == "append"  # a requeued job keeps its log
    assert re.fullmatch(r"\d+:\d\d:\d\d", found["time"])
    assert found["nodes"].isdigit()
    assert found["gpus-per-node"].isdigit()
    assert found["cpus-per-task"].isdigit()
    assert "%j" in found["output"]
    assert found["job-name"] == "fcnjax"


def test_help(project):
    for word in ("-h", "--help"):
        done = project.launch("slurm.sbatch", word)
        assert (done.returncode, done.stderr, done.calls) == (0, "", [])
        assert "Usage: sbatch" in done.stdout
        assert "SBATCH --" not in done.stdout


def test_processes_get_only_slurm_variables(job, odd):
    stale = {"FCNJAX_COORDINATOR": "old:1", "FCNJAX_PROCESSES": "9", "FCNJAX_PROCESS": "8"}
    done = job(*odd, SLURM_CPUS_PER_TASK="12", **stale)
    assert done.returncode == 0, done.stderr
    assert [call["name"] for call in done.calls] == ["fcnjax", "fcnjax"]
    for index, call in enumerate(done.calls):
        assert call["words"] == ["train", *odd]
        environment = call["environment"]
        assert not [key for key in environment if key.startswith("FCNJAX_")]
        assert environment["SLURM_JOB_ID"] == "17"
        assert environment["SLURM_NTASKS"] == "2"
        assert environment["SLURM_PROCID"] == str(index)
        assert environment["SLURM_STEP_NODELIST"] == "node[1-2]"
        assert environment["SRUN_CPUS_PER_TASK"] == "12"


def test_dry_run_prints_the_step(job, project, odd):
    project.stand_in("srun")
    dry = job("--dry-run", *odd)
    assert (dry.returncode, dry.stderr, dry.calls) == (0, "", [])
    pasted = project.paste(dry.stdout, SLURM_JOB_ID="17")
    step, requeue = pasted.calls
    assert step["name"] == "srun"
    assert step["words"][-4:] == ["train", *odd]
    assert requeue["name"] == "scontrol"
    assert requeue["words"] == ["requeue", "17"]
    # It works outside a job as well.
    assert job("--dry-run", *odd, SLURM_JOB_ID="").returncode == 0


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (2, False), (143, True)])
def test_job_is_requeued_only_at_the_time_limit(job, code, requeued):
    done = job(*WORDS, CODE=str(code))
    assert done.returncode == code
    calls = [call["words"] for call in done.calls if call["name"] == "scontrol"]
    assert calls == ([["requeue", "17"]] if requeued else [])


def test_script_waits_for_slurm_after_sigterm(job, project):
    """SIGTERM to the script means cancelled, or preempted and requeued by SLURM."""
    started, go = project.home / "started", project.home / "go"
    project.stand_in(
        "srun",
        f'#!/bin/sh\ntouch "{started}"\nwhile [ ! -e "{go}" ]; do /bin/sleep 0.05; done\n'
        "exit 143\n",
    )
    project.calls_file.write_text("")
    environment = {"SLURM_JOB_ID": "17", "SLURM_SUBMIT_DIR": str(project.root)}
    process = subprocess.Popen(
        ["bash", project.root / "launch/slurm.sbatch", *WORDS],
        env=project.environment(**environment),
        cwd=project.home,
    )
    deadline = time.monotonic() + 30
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    go.touch()
    assert process.wait(timeout=30) == 143
    calls = [json.loads(line) for line in project.calls_file.read_text().splitlines()]
    assert [call["name"] for call in calls] == ["sleep"]


def test_errors_are_one_line(job, project, refused):
    refused(job(), "--config")
    refused(job("--config=a"), "--workdir")
    refused(job(*WORDS, SLURM_JOB_ID=""), "sbatch launch/slurm.sbatch")
    refused(job(*WORDS, SLURM_SUBMIT_DIR=str(project.home)), ".venv/bin/fcnjax is missing")
