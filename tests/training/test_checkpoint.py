"""Checkpoints: saving, restoring, and damaged files."""

import json
import os
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.training.checkpoint import Checkpoints
from fcnjax.training.checkpoint_manifest import MANIFEST, find_damage, read_manifest
from fcnjax.training.state import TrainState


def make_state(step, ema=True):
    kernel = jnp.arange(600.0).reshape(20, 30) + step
    variables = {"params": {"kernel": kernel}, "batch_stats": {"mean": jnp.ones(3) * step}}
    return TrainState(
        step=jnp.asarray(step, jnp.int32),
        variables=variables,
        opt_state=({"mu": kernel * 2}, jnp.asarray(step, jnp.int32)),
        ema=jax.tree.map(lambda x: x + 0.5, variables) if ema else None,
    )


def abstract(state):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)


def write(workdir, steps, **options):
    checkpoints = Checkpoints(workdir, **options)
    for step, metrics in steps:
        checkpoints.save(make_state(step), {"batches": step}, metrics)
    checkpoints.close()


def restore(workdir, lines=None):
    checkpoints = Checkpoints(workdir, log=(lines if lines is not None else []).append)
    try:
        return checkpoints.restore(abstract(make_state(0)))
    finally:
        checkpoints.close()


def test_restored_state_equals_the_saved_one(tmp_path):
    write(tmp_path, [(10, None), (20, None)])
    state, progress = restore(tmp_path)
    assert progress == {"batches": 20}
    jax.tree.map(np.testing.assert_array_equal, state, make_state(20))
    assert jax.tree.structure(state) == jax.tree.structure(make_state(20))


def test_restore_returns_none_without_checkpoints(tmp_path):
    assert restore(tmp_path) is None


def test_newest_and_best_checkpoints_are_kept(tmp_path):
    scores = [(1, 0.2), (2, 0.9), (3, 0.5), (4, 0.4), (5, 0.1)]
    steps = [(step, {"mean_iou": score}) for step, score in scores]
    write(tmp_path, steps, keep=2, best_metric="mean_iou")
    checkpoints = Checkpoints(tmp_path, best_metric="mean_iou", read_only=True)
    assert checkpoints.steps() == [2, 4, 5]
    assert checkpoints.best_step() == 2
    shapes = abstract(make_state(0)).variables
    for name, expected in (("best", 2), ("latest", 5), (4, 4)):
        variables, step = checkpoints.restore_variables(shapes, average=True, step=name)
        assert step == expected
        np.testing.assert_array_equal(
            variables["params"]["kernel"], make_state(step).ema["params"]["kernel"]
        )
    with pytest.raises(UserError, match="no checkpoint 3; valid: best, latest, 2, 4, 5"):
        checkpoints.restore_variables(shapes, average=True, step=3)
    checkpoints.close()


def array_file(folder):
    files = [p for p in folder.rglob("*") if p.is_file() and "/d/" in p.as_posix()]
    return max(files, key=lambda p: p.stat().st_size)


def truncate(folder):
    file = array_file(folder)
    file.write_bytes(file.read_bytes()[:-7])


def flip(folder):
    file = array_file(folder)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES = {
    "truncated": (truncate, "has changed"),
    "one bit flipped": (flip, "has changed"),
    "file missing": (lambda folder: array_file(folder).unlink(), "is missing"),
    "manifest missing": (lambda folder: (folder / MANIFEST).unlink(), "manifest.json is missing"),
    "manifest cut": (lambda folder: (folder / MANIFEST).write_text('{"step"'), "cannot be read"),
    "file added": (lambda folder: (folder / "x").write_text("?"), "does not belong"),
    "a letter of the manifest": (lambda folder: in_manifest(folder, "files", "filez"), "no step"),
    "a score of the manifest": (lambda folder: in_manifest(folder, "0.5", "0.9"), "has changed"),
    "a key of the manifest": (lambda folder: in_manifest(folder, "sha256", "sha257"), "changed"),
    "its step is text": (lambda folder: in_manifest(folder, "20,", '"20",'), "has changed"),
    "its content nests": (lambda folder: (folder / MANIFEST).write_text("[" * 10**5), "be read"),
    "an array is a pipe": (lambda folder: replace(folder, os.mkfifo), "is not a regular file"),
    "an array is a link": (
        lambda folder: replace(folder, lambda file: file.symlink_to("/dev/zero")),
        "is not a regular file",
    ),
    "an array is sparse": (lambda folder: os.truncate(array_file(folder), 2**42), "sparse"),
    "metadata nests": (
        lambda folder: (folder / "_CHECKPOINT_METADATA").write_text("[" * 10**5),
        "_CHECKPOINT_METADATA has changed",
    ),
}


def in_manifest(folder, old, new):
    text = (folder / MANIFEST).read_text()
    assert text.count(old) == 1
    (folder / MANIFEST).write_text(text.replace(old, new))


def replace(folder, make):
    file = array_file(folder)
    file.unlink()
    make(file)


@pytest.mark.parametrize("damage", DAMAGES)
def test_restore_falls_back_to_an_older_intact_checkpoint(tmp_path, damage):
    write(tmp_path, [(10, {"mean_iou": 0.25}), (20, {"mean_iou": 0.5})])
    damage, words = DAMAGES[damage]
    damage(tmp_path / "checkpoints" / "20")
    reader = Checkpoints(tmp_path, best_metric="mean_iou", read_only=True, log=lambda line: None)
    assert reader.find("best") == reader.find("latest") == 10
    lines = []
    state, progress = restore(tmp_path, lines)
    assert int(state.step) == progress["batches"] == 10
    jax.tree.map(np.testing.assert_array_equal, state, make_state(10))
    assert len(lines) == 1
    assert "checkpoint 20 is damaged" in lines[0]
    assert words in lines[0]
    # The damaged checkpoint was moved aside, and the step can be saved again.
    assert (tmp_path / "damaged_checkpoints" / "20").is_dir()
    write(tmp_path, [(20, None)])
    assert restore(tmp_path)[1] == {"batches": 20}


def test_read_only_checkpoints_are_not_moved_aside(tmp_path):
    write(tmp_path, [(10, None), (20, None)])
    flip(tmp_path / "checkpoints" / "20")
    checkpoints = Checkpoints(tmp_path, read_only=True, log=lambda line: None)
    shapes = abstract(make_state(0)).variables
    _, step = checkpoints.restore_variables(shapes, average=True, step="latest")
    assert step == 10
    with pytest.raises(UserError, match=r"20: is damaged: .* has changed"):
        checkpoints.restore_variables(shapes, average=True, step=20)
    checkpoints.close()
    assert (tmp_path / "checkpoints" / "20").is_dir()


def test_inference_without_an_intact_checkpoint_is_an_error(tmp_path):
    write(tmp_path, [(10, None)])
    flip(tmp_path / "checkpoints" / "10")
    checkpoints = Checkpoints(tmp_path, read_only=True, log=lambda line: None)
    with pytest.raises(UserError, match="has no intact checkpoint"):
        checkpoints.restore_variables(abstract(make_state(0)).variables, average=True)
    checkpoints.close()


def test_failed_save_is_a_one_line_error_and_keeps_earlier_checkpoints(tmp_path, monkeypatch):
    write(tmp_path, [(10, None)])
    checkpoints = Checkpoints(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints._manager, "save", full)
    with pytest.raises(UserError, match=r"20: the checkpoint cannot be written.*No space left"):
        checkpoints.save(make_state(20), {"batches": 20})
    checkpoints.close()
    assert find_damage(tmp_path / "checkpoints" / "10") is None
    assert restore(tmp_path)[1] == {"batches": 10}


def test_removed_workdir_is_not_created_again(tmp_path):
    checkpoints = Checkpoints(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(UserError, match="does not exist; was the workdir moved or removed"):
        checkpoints.save(make_state(10), {"batches": 10})
    checkpoints.close()
    assert not (tmp_path / "run").exists()


def test_full_disk_is_a_one_line_error_and_keeps_earlier_checkpoints(tmp_path, caplog):
    # A limit on the size of files makes Orbax's writes fail as a full disk does.
    write(tmp_path, [(10, None)])
    checkpoints = Checkpoints(tmp_path)
    noise = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    large = make_state(20).replace(opt_state=(jnp.asarray(noise), jnp.asarray(20, jnp.int32)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        checkpoints.save(large, {"batches": 20})
        with pytest.raises(UserError, match="20: the checkpoint cannot be written: File too"):
            checkpoints.wait()
        checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["10"]
    assert not caplog.records  # Orbax's tracebacks are not for the user
    assert restore(tmp_path)[1] == {"batches": 10}


def test_other_files_in_the_checkpoints_folder_are_ignored(tmp_path):
    write(tmp_path, [(10, {"mean_iou": 0.5})])
    folder = tmp_path / "checkpoints"
    for name in ("007", "\u00b2", "1" + "0" * 30, "\u0661", "-3", "12x"):
        (folder / name).mkdir()
    (folder / "30").write_text("no folder")
    (folder / "40").symlink_to("10")
    assert Checkpoints(tmp_path, read_only=True).steps() == [10]
    state, _ = restore(tmp_path)
    assert int(state.step) == 10
    write(tmp_path, [(20, {"mean_iou": 0.25})], best_metric="mean_iou")
    reader = Checkpoints(tmp_path, best_metric="mean_iou", read_only=True)
    assert (reader.steps(), reader.best_step()) == ([10, 20], 10)


def test_manifest_without_its_own_hash_is_read(tmp_path):
    write(tmp_path, [(10, {"mean_iou": 0.5})])
    file = tmp_path / "checkpoints" / "10" / MANIFEST
    content = json.loads(file.read_text())
    del content["sha256"]
    file.write_text(json.dumps(content))
    assert Checkpoints(tmp_path, read_only=True).find("latest") == 10
    for wrong in ({"step": 11}, {"metrics": {"x": "1"}}, {"metrics": 3}, {"files": {"x": 1}}):
        file.write_text(json.dumps(content | wrong))
        assert "not the manifest of this checkpoint" in find_damage(file.parent)


def test_infinite_metric_is_none_in_the_manifest(tmp_path):
    write(tmp_path, [(10, {"a": float("inf"), "b": float("nan"), "c": 1.5})])
    folder = tmp_path / "checkpoints" / "10"
    assert read_manifest(folder).metrics == {"a": None, "b": None, "c": 1.5}
    assert find_damage(folder) is None


def test_manifest_contains_metrics_and_is_strict_json(tmp_path):
    write(tmp_path, [(10, {"mean_iou": float("nan"), "dice/vessel": 0.5})])
    text = (tmp_path / "checkpoints" / "10" / MANIFEST).read_text()
    assert json.loads(text)["metrics"] == {"mean_iou": None, "dice/vessel": 0.5}


def test_restore_refuses_another_structure(tmp_path):
    write(tmp_path, [(10, None)])
    checkpoints = Checkpoints(tmp_path, read_only=True)
    shapes = abstract(make_state(0)).variables
    with pytest.raises(UserError, match="does not fit the model that the config describes"):
        checkpoints.restore_variables(shapes, average=False)
    checkpoints.close()
