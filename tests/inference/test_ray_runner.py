"""`fcnjax predict --runner=ray` in separate processes; if slow, killed half-way and resumed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli
from fcnjax.errors import UserError
from fcnjax.inference.runners import ray as ray_runner
from fcnjax.inference.runners import ray_cluster

pytest.importorskip("ray")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

MAX_PIXELS = 2000


@pytest.fixture
def ray_folder():
    # A socket's path is short: not under pytest's folders.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def start(ray_folder, tmp_path):
    """Start the command; end all its processes with the test."""
    started = []

    def run(*argv):
        process = subprocess.Popen(
            [sys.executable, "-m", "fcnjax", "predict", "--runner=ray", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "RAY_TMPDIR": ray_folder,
                "FCNJAX_MAX_PIXELS": str(MAX_PIXELS),
            },
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        kill(process)


def descendants(pid):
    """Return the processes that a process started, recursively."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {pid}


def alive(pids):
    return [
        pid
        for pid in pids
        if (stat := Path(f"/proc/{pid}/stat")).exists()
        and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    ]


def kill(process):
    """Kill a driver and its descendants; return the number of descendants."""
    workers = descendants(process.pid) if process.poll() is None else set()
    for pid in (process.pid, *workers):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()
    until(lambda: not alive(workers), 30)
    return len(workers)


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def finish(process):
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err[-3000:]
    return out, err


def done_so_far(out):
    """Return the ids with a record, and their mask files."""
    masks = {}
    for path in (out / "manifest.parts").glob("*.jsonl"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            record = json.loads(line)
            if "status" in record:
                assert record["id"] not in masks, "recorded twice"
                masks[record["id"]] = record["mask"]
    return masks


def read_manifest(out):
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


BAD = ("missing", "cut off", "a text", "empty", "too large")


def damage(path, kind):
    """Damage an image."""
    content = path.read_bytes()
    path.unlink()
    if kind == "too large":
        Image.new("RGB", (MAX_PIXELS, 2)).save(path)
    elif kind != "missing":
        path.write_bytes({"cut off": content[:-40], "a text": b"a text", "empty": b""}[kind])


@pytest.fixture
def make_images(tmp_path):
    """Make small images in folders, some of them damaged, and their list."""

    def make(count, every):
        rng = np.random.default_rng(0)
        paths = []
        for i in range(count):
            path = tmp_path / "photos" / f"{i % 7}" / f"{i // 7:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (12 + i % 5, 14 + i % 3, 3), np.uint8)
            Image.fromarray(pixels).save(path)
            paths.append(path)
        bad = {path: BAD[n % len(BAD)] for n, path in enumerate(paths[3::every])}
        for path, kind in bad.items():
            damage(path, kind)
        (tmp_path / "list.txt").write_text("\n".join(map(str, paths)))
        good = [path for path in paths if path not in bad]
        (tmp_path / "good.txt").write_text("\n".join(map(str, good)))
        return paths, bad

    return make


def kill_and_resume(start, argv, out, at):
    """Kill a run after `at` images and resume it; no image is predicted twice."""
    process = start(*argv)
    until(lambda: process.poll() is not None or len(done_so_far(out)) >= at, 300)
    assert process.poll() is None, process.communicate()
    assert kill(process) > 2
    before = done_so_far(out)
    assert not (out / "manifest.jsonl").exists()
    times = {mask: (out / mask).stat().st_mtime_ns for mask in before.values() if mask}
    assert times
    process = start(*argv)
    workers = set()
    while process.poll() is None:
        workers |= descendants(process.pid)
        time.sleep(0.2)
    output = finish(process)
    assert len(workers) > 2
    until(lambda: not alive(workers), 30)
    assert {mask: (out / mask).stat().st_mtime_ns for mask in times} == times, "predicted twice"
    return before, output


def check(out, paths, bad, plain, folder):
    lines = read_manifest(out)
    assert [line["source"] for line in lines] == list(map(str, paths))
    assert len({line["id"] for line in lines}) == len(lines)
    for line, path in zip(lines, paths, strict=True):
        assert line["id"] == str(path.relative_to(folder).with_suffix(""))
        if path in bad:
            assert (line["status"], line["mask"], line["size"]) == ("failed", None, None)
            assert line["error"].startswith(f"{path}: ")
            assert "\n" not in line["error"]
        else:
            assert (line["status"], line["error"]) == ("ok", None)
            with Image.open(out / line["mask"]) as mask:
                assert mask.size[::-1] == tuple(line["size"])
    # The files of the local runner, and no others.
    files = {p.relative_to(plain): p.read_bytes() for p in plain.rglob("*") if p.is_file()}
    assert len(files) == 2 * (len(paths) - len(bad))
    names = {p.relative_to(out) for p in out.rglob("*") if p.is_file()}
    assert names == {*files, Path("manifest.jsonl"), Path("predict.json")}
    for name, content in files.items():
        assert (out / name).read_bytes() == content


def run_case(start, workdir, tmp_path, paths, bad, at=None, options=()):
    """Run the command, killed after `at` images and resumed, and compare with the local runner."""
    out, plain = tmp_path / "out", tmp_path / "plain"
    argv = [f"--model={workdir}", f"--list={tmp_path}/list.txt", f"--out={out}", *options]
    if at is None:
        output, err = finish(start(*argv))
    else:
        before, (output, err) = kill_and_resume(start, argv, out, at)
        assert len(before) < len(paths)
    # A slow machine prints lines of progress before.
    assert output.strip().splitlines()[-1] == (
        f"{len(paths) - len(bad)} images predicted, {len(bad)} failed, in {out}/manifest.jsonl"
    )
    assert err == ""
    argv = ["predict", f"--model={workdir}", f"--list={tmp_path}/good.txt"]
    assert cli.main([*argv, f"--out={plain}"]) == 0
    check(out, paths, bad, plain, tmp_path / "photos")


def test_equals_local_runner_and_refuses_other_options(
    start, workdir, tmp_path, make_images, capsys
):
    paths, bad = make_images(60, 9)
    run_case(start, workdir, tmp_path, paths, bad)
    # No image remains, so Ray is not started.
    out = tmp_path / "out"
    before = (out / "manifest.jsonl").stat().st_mtime_ns
    argv = ["predict", "--runner=ray", f"--model={workdir}", f"--out={out}"]
    listed = f"--list={tmp_path}/list.txt"
    capsys.readouterr()
    for share, code in (("0.2", 0), ("0.1", 1)):
        assert cli.main([*argv, listed, f"--most-failed={share}"]) == code
        assert "53 images predicted, 7 failed" in capsys.readouterr().out
    assert (out / "manifest.jsonl").stat().st_mtime_ns == before
    for more, words in (
        ([f"--list={tmp_path}/good.txt"], "holds the masks of another listing: images 60,"),
        ([listed, "--step=latest"], "holds the masks of another checkpoint: step 10,"),
        ([listed, "--outputs=mask"], "holds the masks of another set of outputs"),
    ):
        assert cli.main([*argv, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


def options(**changes):
    values = dict.fromkeys(ray_runner.Options._fields) | {"most_failed": 1.0} | changes
    return ray_runner.Options(**values)


def test_actor_takes_an_accelerator_if_available(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    for resources, actors, expected in (
        ({"CPU": 8.0, "GPU": 4.0}, None, (4, {"num_gpus": 1})),
        ({"CPU": 8.0, "GPU": 4.0}, 2, (2, {"num_gpus": 1})),
        ({"CPU": 8.0, "TPU": 4.0}, None, (4, {"resources": {"TPU": 1}})),
        ({"CPU": 8.0}, None, (1, {"num_cpus": 1})),
        ({"CPU": 8.0}, 8, (8, {"num_cpus": 1})),
    ):
        assert ray_runner._choose_actors(resources, options(actors=actors)) == expected
    with pytest.raises(UserError, match="--actors=5: Ray sees 4 GPUs"):
        ray_runner._choose_actors({"CPU": 8.0, "GPU": 4.0}, options(actors=5))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert ray_runner._choose_actors({"CPU": 8.0, "GPU": 4.0}, options()) == (1, {"num_cpus": 1})


def test_errors_of_ray_are_one_line():
    texts = (
        "The actor died.\n  At least one argument\nModuleNotFoundError: No module named 'x'\n\n",
        "The actor died unexpectedly before finishing this task.\n\tclass_name: A\n",
        "\x1b[36mray::f()\x1b[39m (pid=1)\n  File x, line 3\nvalue.FooError: bad",
    )
    assert [ray_cluster.summarize_error(RuntimeError(text)) for text in texts] == [
        "ModuleNotFoundError: No module named 'x'",
        "RuntimeError: The actor died unexpectedly before finishing this task.",
        "value.FooError: bad",
    ]


def test_missing_cluster_or_package_is_a_one_line_error(
    workdir, shapes, tmp_path, capsys, monkeypatch
):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        argv = ["predict", "--runner=ray", str(shapes / "images"), f"--model={workdir}"]
        argv.append(f"--out={tmp_path / 'out'}")
        assert cli.main([*argv, f"--ray-address={address}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--ray-address={address}: cannot be reached: " in line
    assert cli.main([*argv, "--step=30"]) == 2
    assert "has no checkpoint 30; valid: best, latest, 10, 20" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray.data", None)
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "fcnjax: error: --runner=ray: needs Ray: pip install 'fcnjax[ray]'"


@pytest.mark.slow
def test_records_of_parquet_and_two_actors_killed_half_way(start, workdir, tmp_path, make_images):
    """Images in Parquet files with an id column; then the failed ones are retried."""
    paths, bad = make_images(400, 40)
    rows = [
        {"image": path.read_bytes() if path.exists() else None, "id": f"{i}"}
        for i, path in enumerate(paths)
    ]
    for part in range(4):
        table = pa.Table.from_pylist(rows[part::4])
        pq.write_table(table, tmp_path / f"part{part}.parquet", row_group_size=30)
    shutil.rmtree(tmp_path / "photos")
    (tmp_path / "set").mkdir()
    for path in tmp_path.glob("*.parquet"):
        path.rename(tmp_path / "set" / path.name)
    out = tmp_path / "out"
    argv = [f"--model={workdir}", f"--list={tmp_path}/set", f"--out={out}", "--actors=2"]
    kill_and_resume(start, argv, out, 80)
    lines = read_manifest(out)
    assert [line["id"] for line in lines] == [
        row["id"] for part in range(4) for row in rows[part::4]
    ]
    failed = {line["id"] for line in lines if line["status"] == "failed"}
    assert failed == {str(paths.index(path)) for path in bad}
    output, _ = finish(start(*argv, "--retry-failed"))
    assert f"{400 - len(bad)} images predicted, {len(bad)} failed" in output
    again = read_manifest(out)
    for old, new in zip(lines, again, strict=True):
        assert old == new or old["status"] == "failed"


@pytest.mark.slow
def test_dead_worker_is_replaced_without_loss(start, workdir, tmp_path, make_images):
    paths, _ = make_images(1000, 2000)
    out = tmp_path / "out"
    process = start(f"--model={workdir}", f"--list={tmp_path}/list.txt", f"--out={out}")
    until(lambda: process.poll() is not None or len(done_so_far(out)) >= 100, 300)
    (part,) = (out / "manifest.parts").iterdir()
    holders = [
        pid
        for pid in descendants(process.pid)
        if any(os.path.realpath(fd) == str(part) for fd in Path(f"/proc/{pid}/fd").glob("*"))
    ]
    (worker,) = holders
    os.kill(worker, signal.SIGKILL)
    finish(process)
    lines = read_manifest(out)
    assert [line["source"] for line in lines] == list(map(str, paths))
    assert [line["status"] for line in lines].count("ok") == 999


@pytest.mark.slow
def test_sigterm_ends_the_run_cleanly(start, workdir, tmp_path, make_images):
    make_images(1000, 2000)
    out = tmp_path / "out"
    argv = [f"--model={workdir}", f"--list={tmp_path}/list.txt", f"--out={out}"]
    process = start(*argv)
    until(lambda: process.poll() is not None or len(done_so_far(out)) >= 50, 300)
    workers = descendants(process.pid)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert err == "fcnjax: stopped by SIGTERM; the same command resumes the run\n"
    until(lambda: not alive(workers), 30)
    assert "999 images predicted, 1 failed" in finish(start(*argv))[0]


@pytest.mark.slow
def test_image_that_kills_its_process_is_given_up(
    start, workdir, tmp_path, make_images, monkeypatch
):
    paths, _ = make_images(60, 100)
    # Python runs sitecustomize at its start, in Ray's workers too.
    code = (
        "import os\n"
        "real = os.open\n"
        "def open(path, *args, **options):\n"
        f"    if str(path) == {str(paths[20])!r}:\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return real(path, *args, **options)\n"
        "os.open = open\n"
    )
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(code)
    places = [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    out = tmp_path / "out"
    finish(start(f"--model={workdir}", f"--list={tmp_path}/list.txt", f"--out={out}"))
    lines = read_manifest(out)
    assert [line["source"] for line in lines] == list(map(str, paths))
    failed = [line["source"] for line in lines if line["status"] == "failed"]
    assert failed == [str(paths[3]), str(paths[20])]
    assert "given up: the process that read it died" in lines[20]["error"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "every", "at", "options"), [(60, 9, 5, ()), (2000, 45, 1000, ("--actors=2",))]
)
def test_killed_half_way_and_resumed(
    start, workdir, tmp_path, make_images, count, every, at, options
):
    paths, bad = make_images(count, every)
    run_case(start, workdir, tmp_path, paths, bad, at, options)
