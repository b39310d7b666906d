"""The Ray worker without Ray: the files of the local runner, and a record of each image."""

import json
import os

import jax
import numpy as np
import pytest
from PIL import Image

from fcnjax import cli
from fcnjax.inference.identity import identify_weights
from fcnjax.inference.outputs.journal import Journal
from fcnjax.inference.outputs.manifest import RecordIndex
from fcnjax.inference.request import Request
from fcnjax.inference.runners import local
from fcnjax.inference.runners.worker import Job, PredictionWorker

pa = pytest.importorskip("pyarrow")


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (15 + i, 17, 3), np.uint8)).save(folder / f"p{i}.png")
    return folder


def job(workdir, out, **changes):
    out.mkdir(exist_ok=True)
    values = {
        "request": Request(((str(workdir), 10),)),
        "out": str(out),
        "session": "s",
        "max_pixels": None,
    }
    return Job(**{**values, **changes})


def table(photos, **contents):
    names = [f"p{i}" for i in range(6)]
    return pa.table(
        {
            "index": list(range(6)),
            "id": names,
            "source": [os.fsencode(photos / f"{name}.png") for name in names],
            "content": pa.array([contents.get(name) for name in names], pa.large_binary()),
            "error": pa.array([None] * 6, pa.string()),
        }
    )


def records(out):
    RecordIndex(out, 6).write_manifest()
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_files_equal_those_of_the_local_runner(workdir, photos, tmp_path):
    content = (photos / "p3.png").read_bytes()
    argv = ["predict", str(photos), f"--model={workdir}", "--step=10"]
    argv.append("--outputs=mask,overlay,probabilities")
    assert cli.main([*argv, f"--out={tmp_path / 'plain'}"]) == 0
    (photos / "p3.png").unlink()  # its record contains it
    request = Request(((str(workdir), 10),), outputs=("mask", "overlay", "probabilities"))
    worker = PredictionWorker(job(workdir, tmp_path / "out", request=request))
    # One worker predicts several tables.
    for part in (table(photos, p3=content)[:4], table(photos)[4:]):
        assert worker(part) == {"predicted": [len(part)], "failed": [0], "fatal": [""]}
    lines = records(tmp_path / "out")
    assert [line["size"] for line in lines] == [[15 + i, 17] for i in range(6)]
    assert all(line["seconds"] > 0 for line in lines)
    files = {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}
    assert len(files) == 18
    for name, content in files.items():
        assert (tmp_path / "out" / name).read_bytes() == content


def test_failed_images_are_recorded_without_files(workdir, photos, tmp_path, monkeypatch):
    (photos / "p0.png").unlink()
    (photos / "p1.png").write_bytes((photos / "p1.png").read_bytes()[:60])
    (photos / "p2.png").write_text("a text")
    Image.new("RGB", (40, 30)).save(photos / "p3.png")
    monkeypatch.setenv("FCNJAX_MAX_PIXELS", "")
    worker = PredictionWorker(job(workdir, tmp_path / "out", max_pixels="1000"))
    assert worker(table(photos)) == {"predicted": [2], "failed": [4], "fatal": [""]}
    lines = records(tmp_path / "out")
    for i, words in enumerate(("no such file", "cannot be read", "cannot be read", "is 40x30")):
        assert lines[i]["status"] == "failed"
        assert lines[i]["mask"] is None
        assert lines[i]["error"].startswith(f"{photos}/p{i}.png: {words}")
        assert "\n" not in lines[i]["error"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"manifest.jsonl"} | {
        f"p{i}_{e}.png" for i in (4, 5) for e in ("mask", "overlay")
    }


def test_out_of_memory_fails_one_image_and_other_device_errors_end_the_run(
    workdir, photos, tmp_path, monkeypatch
):
    worker = PredictionWorker(job(workdir, tmp_path / "out"))
    model, words = worker._predictor.model, ["RESOURCE_EXHAUSTED: out of memory"]

    class Failing:
        config, palette, class_names = model.config, model.palette, model.class_names
        read = model.read

        def __call__(self, image, **options):
            if image.shape[0] == 17:
                raise jax.errors.JaxRuntimeError(words[0])
            return model(image, **options)

    worker._predictor.model = Failing()
    assert worker(table(photos)) == {"predicted": [5], "failed": [1], "fatal": [""]}
    assert records(tmp_path / "out")[2]["error"].endswith(
        "p2.png: is 17x17, which does not fit the device's memory"
    )
    words[0] = "INTERNAL: the device is lost"
    with pytest.raises(jax.errors.JaxRuntimeError, match="is lost"):
        worker(table(photos))


def test_fatal_errors_are_returned(workdir, photos, tmp_path, monkeypatch):
    bad = PredictionWorker(job(tmp_path / "nowhere", tmp_path / "out"))(table(photos))
    assert "nowhere: is not a workdir" in bad["fatal"][0]

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fcnjax.inference.outputs.image_writers.overlay", no_space)
    bad = PredictionWorker(job(workdir, tmp_path / "out"))(table(photos))
    assert bad["fatal"][0].endswith("_overlay.png: cannot be written: No space left on device")
    assert not RecordIndex(tmp_path / "out", 6).recorded.any()


def test_replacement_of_a_dead_process_predicts_the_rest(workdir, photos, tmp_path, monkeypatch):
    """The dead process predicted p0 and died during p1 and p2. Another died during p2 before."""
    (tmp_path / "out").mkdir()
    for indexes in ((2,), (0, 1, 2)):
        dead = Journal(tmp_path / "out", "s")
        for index in indexes:
            dead.begin(index)
    worker = PredictionWorker(job(workdir, tmp_path / "first"))
    assert worker(table(photos)[:1])["predicted"] == [1]
    (part,) = (tmp_path / "first" / "manifest.parts").iterdir()
    part.rename(tmp_path / "out" / "manifest.parts" / part.name)
    together = []
    real = local.predict_images

    def recording(predictor, items, *args):
        items = list(items)
        together.append([item.id for item in items])
        return real(predictor, items, *args)

    monkeypatch.setattr("fcnjax.inference.runners.worker.predict_images", recording)
    worker = PredictionWorker(job(workdir, tmp_path / "out"))
    assert worker(table(photos)) == {"predicted": [5], "failed": [1], "fatal": [""]}
    assert together == [["p1"], ["p3", "p4", "p5"]]
    assert "given up: the process that read it died" in records(tmp_path / "out")[2]["error"]
    # A new session has no crashed images.
    other = PredictionWorker(job(workdir, tmp_path / "out", session="t"))
    assert not other._begun


def test_weights_are_identified_without_loading(workdir, tmp_path):
    best, latest = (identify_weights(str(workdir), step, None) for step in ("best", "latest"))
    assert (best["step"], latest["step"]) == (10, 20)
    assert best["sha256"] != latest["sha256"]
    assert best == identify_weights(str(workdir), 10, "float32")
    assert cli.main(["publish", f"--model={workdir}", f"--out={tmp_path / 'model'}"]) == 0
    assert identify_weights(str(tmp_path / "model"), "best", None)["sha256"] != best["sha256"]
