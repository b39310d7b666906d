"""All shell scripts, and launch/local.sh."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = [*sorted(ROOT.glob("launch/*.sh")), ROOT / "launch/slurm.sbatch"]
SCRIPTS += [ROOT / "launch/common.bash", ROOT / "benchmarks/gpu.sh"]
SCRIPTS += [ROOT / ".ci/run", ROOT / ".ci/check_wheel.sh"]


def test_shellcheck_finds_nothing():
    shellcheck = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [shellcheck, f"--source-path={ROOT}", "--external-sources", *SCRIPTS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_file_contains_a_secret():
    for path in ROOT.glob("launch/*"):
        if path.is_file():
            assert not re.search(r"(?i)(password|token|secret|api.?key)\s*[=:]", path.read_text())


def test_local_passes_arguments_through(project, odd):
    done = project.launch("local.sh", "--extra=cuda13", *odd)
    assert done.returncode == 0, done.stderr
    assert [call["name"] for call in done.calls] == ["setup", "fcnjax"]
    assert done.calls[0]["words"] == ["cuda13"]
    assert done.calls[1]["words"] == ["train", *odd]
    assert "XLA_FLAGS" not in done.calls[1]["environment"]


@pytest.mark.parametrize("options", [["--extra=tpu"], ["--host-devices=4"], ["--extra=cpu"]])
def test_local_dry_run_prints_equivalent_commands(project, odd, options):
    dry = project.launch("local.sh", "--dry-run", *options, *odd)
    assert (dry.returncode, dry.stderr, dry.calls) == (0, "", [])
    pasted = project.paste(dry.stdout)
    assert pasted.returncode == 0, pasted.stderr
    assert pasted.calls == project.launch("local.sh", *options, *odd).calls


def test_local_sets_host_devices(project):
    words = ["--config=a", "--workdir", "b"]
    done = project.launch("local.sh", "--host-devices=4", *words, XLA_FLAGS="--other")
    assert done.calls[0]["words"] == []
    environment = done.calls[1]["environment"]
    assert environment["JAX_PLATFORMS"] == "cpu"
    flag = "--xla_force_host_platform_device_count"
    assert environment["XLA_FLAGS"] == f"--other {flag}=4"
    # By default the largest power of two that the cores allow, up to 8.
    project.stand_in("nproc", "#!/bin/sh\necho 6\n")
    done = project.launch("local.sh", "--host-devices", *words)
    assert done.calls[1]["environment"]["XLA_FLAGS"] == f"{flag}=4"
    project.stand_in("nproc", "#!/bin/sh\necho 64\n")
    done = project.launch("local.sh", "--host-devices", *words)
    assert done.calls[1]["environment"]["XLA_FLAGS"] == f"{flag}=8"


def test_local_finds_a_gpu(project):
    project.stand_in("nvidia-smi", "#!/bin/sh\necho 'GPU 0: NVIDIA H100'\n")
    done = project.launch("local.sh", "--config=a", "--workdir=b")
    assert done.calls[0]["words"] == ["cuda12"]
    # A driver is installed, but no GPU.
    project.stand_in("nvidia-smi", "#!/bin/sh\nexit 9\n")
    done = project.launch("local.sh", "--config=a", "--workdir=b")
    assert done.calls[0]["words"] == []


def test_local_returns_the_exit_code_of_training(project):
    project.stand_in(project.bin / "setup", "#!/bin/sh\n")
    done = project.launch("local.sh", "--extra=cpu", "--config=a", "--workdir=b", CODE="143")
    assert done.returncode == 143


def test_local_replaces_itself_so_that_signals_reach_training(project):
    """The training has the process ID of the shell that was started."""
    pid = project.home / "pid"
    project.stand_in(project.root / ".venv/bin/fcnjax", f'#!/bin/sh\necho $$ >"{pid}"\n')
    process = subprocess.Popen(
        ["bash", project.root / "launch/local.sh", "--extra=cpu", "--config=a", "--workdir=b"],
        env=project.environment(),
        stdin=subprocess.DEVNULL,
    )
    assert process.wait(timeout=30) == 0
    assert int(pid.read_text()) == process.pid


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "--config"),
        (["--config=a"], "--workdir"),
        (["--config=a", "--workdir=b", "--extra=cuda"], "'cuda'; valid: cpu, cuda12"),
        (["--config=a", "--workdir=b", "--host-devices=two"], "two"),
        (["--config=a", "--workdir=b", "--host-devices=0"], "--host-devices"),
        (["--config=a", "--workdir=b", "--host-devices=2", "--extra=tpu"], "--extra=tpu"),
    ],
)
def test_local_errors_are_one_line(project, refused, words, part):
    refused(project.launch("local.sh", *words), "local: error", part)
