"""launch/tpu_pod.sh: its calls of gcloud, and the scripts that it runs on the hosts."""

import json
import tarfile
import time

import pytest

ZONE = "--zone=us-west4-a"
COMMANDS = {
    "create": ["create", "pod", ZONE, "--type=v5litepod-16", "--spot"],
    "install": ["install", "pod", ZONE, "--nfs=10.0.0.2:/a share"],
    "run": ["run", "pod", ZONE, "--project=mine"],
    "logs": ["logs", "pod", ZONE, "--worker=3"],
    "stop": ["stop", "pod", ZONE],
    "status": ["status", "pod", ZONE],
    "delete": ["delete", "pod", ZONE],
}


@pytest.fixture
def pod(project):
    project.stand_in("gcloud")

    def run(*words, **environment):
        return project.launch("tpu_pod.sh", *words, TMPDIR=str(project.home), **environment)

    return run


def command_on(done):
    """Return the script for a host and the index of the host."""
    words = done.calls[-1]["words"]
    command = next(word for word in words if word.startswith("--command="))
    worker = next(word for word in words if word.startswith("--worker="))
    return command.removeprefix("--command="), worker.removeprefix("--worker=")


def wait_for(path):
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.02)
    return path.read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_dry_run_prints_equivalent_commands(pod, project, odd, command):
    words = COMMANDS[command] + (odd if command == "run" else [])
    dry = pod(*words, "--dry-run")
    assert (dry.returncode, dry.stderr, dry.calls) == (0, "", [])
    done = pod(*words)
    assert done.returncode == 0, done.stderr
    pasted = project.paste(dry.stdout)
    assert pasted.returncode == 0, pasted.stderr
    assert pasted.calls == done.calls
    for call in done.calls:
        assert call["name"] == "gcloud"
        assert call["words"][:3] == ["compute", "tpus", "tpu-vm"]
        assert ZONE in call["words"]
    assert ("costs money until" in done.stderr) == (command != "delete")


def test_create_passes_its_options(pod):
    done = pod("create", "pod", ZONE, "--type=v5litepod-16", "--spot")
    assert done.calls[0]["words"][3:] == [
        "create",
        "pod",
        ZONE,
        "--accelerator-type=v5litepod-16",
        "--version=v2-alpha-tpuv5-lite",
        "--spot",
    ]
    for kind, version in (("v4-8", "tpu-ubuntu2204-base"), ("v6e-8", "v2-alpha-tpuv6e")):
        words = pod("create", "pod", ZONE, f"--type={kind}").calls[0]["words"]
        assert f"--version={version}" in words
        assert "--spot" not in words
    words = pod("create", "pod", ZONE, "--type=v9-8", "--version=new").calls[0]["words"]
    assert "--version=new" in words


def test_only_delete_deletes(pod, odd):
    for command, words in COMMANDS.items():
        done = pod(*words, *(odd if command == "run" else []))
        verbs = [call["words"][3] for call in done.calls]
        assert ("delete" in verbs) == (command == "delete")


def test_costs_are_reported_after_a_failure(pod, project):
    done = pod("stop", "pod", ZONE, CODE="1")
    assert done.returncode == 1
    assert "launch/tpu_pod.sh delete pod --zone=us-west4-a" in done.stderr
    # A failed create costs nothing.
    done = pod(*COMMANDS["create"], CODE="1")
    assert (done.returncode, done.stderr) == (1, "")
    # A failed copy leaves no archive.
    done = pod(*COMMANDS["install"], CODE="1")
    assert done.returncode == 1
    assert not list(project.home.glob("*.tar.gz"))


def test_install_copies_the_project_and_sets_it_up(pod, project):
    sent = f'cp "$word" "{project.home}/sent"'
    keep = f"#!/bin/sh\nfor word; do case $word in *.gz) {sent} ;; esac; done\n"
    project.stand_in("gcloud", keep)
    pod(*COMMANDS["install"])
    with tarfile.open(project.home / "sent") as archive:
        names = archive.getnames()
    assert "./launch/setup.sh" in names
    assert not [name for name in names if name.startswith("./.venv")]

    project.stand_in("gcloud")
    script, worker = command_on(pod(*COMMANDS["install"]))
    assert worker == "all"
    # Run the script as a host would, with fakes of the programs that change the machine.
    (project.home / "sent").rename(project.home / "fcnjax.tar.gz")
    project.stand_in("uv", '#!/bin/sh\n[ "$2" = find ] && echo /python\nexit 0\n')
    for name in ("python3", "sudo", "bash-setup"):
        project.stand_in(name)
    project.stand_in("mountpoint", "#!/bin/sh\nexit 1\n")
    done = project.paste(script)
    assert done.returncode == 0, done.stderr
    assert done.calls[0]["words"] == ["-m", "pip", "install", "--quiet", "--user", "uv"]
    # setup.sh of the copy is a fake as well.
    assert done.calls[1]["name"] == "setup"
    assert done.calls[1]["words"] == ["tpu"]
    mount = ["mount", "-t", "nfs", "10.0.0.2:/a share", "/mnt/fcnjax"]
    assert mount in [call["words"] for call in done.calls]


def test_host_trains_with_the_arguments_and_only_once_at_a_time(pod, project, odd):
    script, worker = command_on(pod(*COMMANDS["run"], *odd))
    assert worker == "all"
    go = project.home / "go"
    slow = f'#!/bin/sh\n"{project.bin}/record" "$@"\nwhile [ ! -e "{go}" ]; do sleep 0.05; done\n'
    project.stand_in("record")
    project.stand_in(project.home / "fcnjax/.venv/bin/fcnjax", slow)
    assert project.paste(script).returncode == 0
    call = json.loads(wait_for(project.calls_file))
    assert call["words"] == ["train", *odd]
    assert call["environment"] == {"FCNJAX_COORDINATOR": "auto"}

    refused = project.paste(script)
    assert refused.returncode == 2
    assert "training is already running" in refused.stderr

    status, _ = command_on(pod(*COMMANDS["status"]))
    assert project.paste(status).stdout.splitlines()[0] == "trains"
    go.touch()
    stop, worker = command_on(pod(*COMMANDS["stop"]))
    assert worker == "all"
    assert project.paste(stop).returncode == 0
    assert project.paste(status).stdout.splitlines()[0] == "idle"
    # Training can be started again.
    assert project.paste(script).returncode == 0


def test_stop_sends_sigterm_and_waits_for_the_save(pod, project):
    saved = project.home / "saved"
    project.stand_in(
        project.home / "fcnjax/.venv/bin/fcnjax",
        f"#!/bin/bash\ntrap 'sleep 0.3; echo >\"{saved}\"; exit 143' TERM\necho ready\n"
        "while true; do sleep 0.05; done\n",
    )
    script, _ = command_on(pod(*COMMANDS["run"], "--config=a", "--workdir=b"))
    assert project.paste(script).returncode == 0
    wait_for(project.home / "fcnjax/train.log")
    stop, _ = command_on(pod(*COMMANDS["stop"]))
    assert project.paste(stop).returncode == 0
    assert saved.exists()
    # It succeeds if nothing is running.
    assert project.paste(stop).returncode == 0


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "valid: create, install, run"),
        (["start", "pod", ZONE], "unknown command 'start'"),
        (["create"], "NAME"),
        (["create", ZONE], "NAME"),
        (["create", "Pod", ZONE, "--type=v4-8"], "'Pod'"),
        (["create", "pod", "--type=v4-8"], "--zone"),
        (["create", "pod", ZONE], "--type"),
        (["create", "pod", ZONE, "--type=h100"], "--version"),
        (["create", "pod", ZONE, "--type=v4-8", "--sopt"], "'--sopt'"),
        (["run", "pod", ZONE, "--config=a"], "--workdir"),
        (["run", "pod", ZONE, "--workdir=a"], "--config"),
        (["delete", "pod", ZONE, "--config=a"], "'--config=a'"),
    ],
)
def test_errors_are_one_line(pod, refused, words, part):
    refused(pod(*words), "tpu_pod: error", part)


def test_only_dry_run_works_without_gcloud(pod, project, refused):
    path = project.tools_only("bash", "sed", "dirname")
    refused(pod(*COMMANDS["delete"], PATH=path), "gcloud is not installed")
    assert pod(*COMMANDS["delete"], "--dry-run", PATH=path).returncode == 0
