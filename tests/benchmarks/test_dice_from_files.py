"""benchmarks/dice_from_files.py: counts by hand, file names and errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "dice_from_files.py"


def write_mask(path, ids):
    image = Image.fromarray(np.asarray(ids, np.uint8)).convert("P")
    # In this palette class 1 is dark and class 0 bright: reading colours would swap the classes.
    image.putpalette([255, 255, 255, 0, 0, 10, 0, 255, 0])
    image.save(path)


@pytest.fixture
def folders(tmp_path):
    masks, truth = tmp_path / "masks", tmp_path / "truth"
    masks.mkdir()
    truth.mkdir()
    # TP 2, FP 1, FN 1; then TP 1, FP 0, FN 2. Pooled: 6 / (6 + 1 + 3). Per image: 2/3 and 1/2.
    write_mask(masks / "a_mask.png", [[1, 1, 1], [0, 0, 2]])
    write_mask(masks / "b.1_mask.png", [[0, 1], [0, 2]])
    Image.new("RGB", (3, 2)).save(masks / "a_overlay.png")
    drawn = {"a.ah.ppm": [[1, 1, 0], [0, 1, 0]], "b.1.ah.ppm": [[0, 1], [1, 1]], "c.ppm": [[1]]}
    for name, values in drawn.items():
        Image.fromarray(np.asarray(values, np.uint8) * 255).save(truth / name)
    return masks, truth


def run(*args):
    words = [sys.executable, SCRIPT, *args]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_counts_are_pooled_over_the_images(folders):
    done = run(*folders)
    assert done.stdout == "Dice 0.6000 over 2 images\n", done.stderr
    assert done.returncode == 0


def test_another_class_can_be_evaluated(folders):
    # Class 2: TP 1 (in b), FP 1 (in a), FN 3 + 2.
    assert run(*folders, "--value=2").stdout == "Dice 0.2500 over 2 images\n"


def test_plain_names_are_read_without_masks_by_suffix(folders):
    masks, _ = folders
    for path in masks.glob("*_mask.png"):
        path.rename(masks / path.name.replace("_mask", ""))
    assert run(*folders).stdout == "Dice 0.6000 over 2 images\n"


def no_reference(masks, truth):
    (truth / "a.ah.ppm").unlink()


def two_references(masks, truth):
    (truth / "a.vk.ppm").write_bytes((truth / "a.ah.ppm").read_bytes())


def other_size(masks, truth):
    write_mask(masks / "a_mask.png", [[1, 1], [1, 1]])


def other_values(masks, truth):
    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(truth / "a.ah.ppm")


def colours(masks, truth):
    Image.new("RGB", (3, 2)).save(masks / "a_mask.png")


def no_image(masks, truth):
    (masks / "a_mask.png").write_text("nothing")


def empty(masks, truth):
    for path in masks.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_reference, ["a_mask.png", "0 files a.*"]),
        (two_references, ["a_mask.png", "2 files a.*"]),
        (other_size, ["a_mask.png", "(2, 2)", "(2, 3)"]),
        (other_values, ["a.ah.ppm", "value 7"]),
        (colours, ["a_mask.png", "3 channels"]),
        (no_image, ["a_mask.png"]),
        (empty, ["no masks there"]),
    ],
)
def test_user_error_is_one_line_with_exit_code_2(folders, spoil, words):
    spoil(*folders)
    done = run(*folders)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert all(word in done.stderr for word in words), done.stderr


def test_absent_class_has_no_dice(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    done = run(tmp_path, tmp_path)
    assert done.returncode == 2
    assert "class 1 is absent" in done.stderr
