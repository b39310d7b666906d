"""launch/colab_tpu.ipynb, run from the first cell to the last."""

import base64
import importlib.util
import io
import json
import subprocess
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "launch/colab_tpu.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(FILE, as_version=4)


@pytest.fixture
def run(notebook, tmp_path, monkeypatch):
    """Run the notebook with other parameters in its first cell, as papermill does."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))

    def execute(**parameters):
        index = next(i for i, cell in enumerate(notebook.cells) if is_parameters(cell))
        lines = [f"{name} = {value!r}" for name, value in parameters.items()]
        notebook.cells.insert(index + 1, nbformat.v4.new_code_cell("\n".join(lines)))
        client = nbclient.NotebookClient(
            notebook, timeout=900, resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
        return notebook

    return execute


def is_parameters(cell):
    return "parameters" in cell.metadata.get("tags", [])


def source_of(notebook, name):
    return next(cell.source for cell in notebook.cells if cell.get("id") == name)


def printed_text(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(o.text for o in outputs if o.output_type == "stream")


def displayed_images(notebook):
    """Return the images that the notebook displays."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    data = [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in data]


def test_notebook_is_valid_and_has_no_outputs(notebook):
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)
    assert sum(map(is_parameters, notebook.cells)) == 1
    assert is_parameters(code[0])
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.accelerator == "TPU"
    # The file is formatted as Jupyter writes it, so that diffs stay small.
    assert FILE.read_text() == nbformat.writes(notebook, indent=1) + "\n"


def test_notebook_runs_to_the_end(run, shapes, tiny_options, tmp_path):
    workdir = tmp_path / "run"
    done = run(CONFIG=f"folder:root={shapes}", WORKDIR=str(workdir), STEPS=40, OPTIONS=tiny_options)
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics["metrics"]["mean_iou"] > 0.6
    text = printed_text(done)
    assert " x cpu" in text
    assert "step 40/40" in text
    assert "class_2" in text
    assert "installing" not in text
    pictures = displayed_images(done)
    assert len(pictures) == 2
    # Image, mask, prediction and difference have the same size, and masks have few colours.
    for picture in pictures:
        parts = np.split(picture, 4, axis=1)
        assert len(np.unique(parts[0].reshape(-1, 3), axis=0)) > 100
        assert len(np.unique(parts[1].reshape(-1, 3), axis=0)) <= 4
        same = (parts[1] == parts[2]).all(-1).mean()
        assert same > 0.7


def test_failed_training_ends_the_notebook(run, tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="fcnjax train ended with 2"):
        run(CONFIG=str(tmp_path / "none.py"), WORKDIR=str(tmp_path / "run"))


@pytest.mark.network
@pytest.mark.slow
def test_notebook_trains_on_stare(run, tmp_path):
    """Run with the default parameters except for the number of steps. Downloads the images."""
    done = run(WORKDIR=str(tmp_path / "run"), STEPS=60)
    assert "10 images, 2 classes" in printed_text(done)
    assert "vessel" in printed_text(done)
    assert [picture.shape[1] for picture in displayed_images(done)] == [1600] * 3


class Ran(list):
    """A fake subprocess.run that records its calls and simulates a GPU or none."""

    def __init__(self, gpu):
        super().__init__()
        self.gpu = gpu

    def __call__(self, words, **options):
        self.append([str(word) for word in words])
        return subprocess.CompletedProcess(words, 0 if self.gpu else 9)


@pytest.mark.parametrize(("gpu", "extra"), [(True, "[cuda12]"), (False, "")])
def test_notebook_clones_and_installs_for_the_hardware(notebook, tmp_path, monkeypatch, gpu, extra):
    ran = Ran(gpu)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", ran)
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    exec(source_of(notebook, "install"), {"REPOSITORY": "https://host/fcnjax"})
    smi, clone, install = ran
    assert smi == ["/usr/bin/nvidia-smi", "-L"]
    assert clone[:2] == ["git", "clone"]
    assert clone[-2:] == ["https://host/fcnjax", str(tmp_path / "fcnjax_clone")]
    assert install[1:] == ["-m", "pip", "install", "--quiet", f"{tmp_path / 'fcnjax_clone'}{extra}"]


def test_notebook_installs_its_own_clone_or_requires_a_repository(notebook, tmp_path, monkeypatch):
    ran = Ran(gpu=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", ran)
    monkeypatch.chdir(ROOT / "launch")
    exec(source_of(notebook, "install"), {"REPOSITORY": ""})
    assert ran[-1][-1] == str(ROOT)
    assert not [words for words in ran if words[0] == "git"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="REPOSITORY"):
        exec(source_of(notebook, "install"), {"REPOSITORY": ""})
