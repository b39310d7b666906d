"""Masks of images with an EXIF orientation."""

import numpy as np
import pytest
from folder_config import folder_config
from PIL import Image

from fcnjax.data import open_source, resolve
from fcnjax.data.labels.mask_exif import mask_orientation, read_orientation
from fcnjax.data.readers.stored_pixels import upright
from fcnjax.errors import UserError
from fcnjax.validate.check import check

STORED = np.random.default_rng(0).integers(0, 2, (6, 9)).astype(np.uint8)


def exif(orientation):
    tags = Image.Exif()
    if orientation:
        tags[274] = orientation
    return tags


def write(root, orientations, mask=lambda orientation: STORED, own=0):
    """Write images whose brightness equals the mask at each pixel."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for i, orientation in enumerate(orientations):
        image = np.repeat(200 * STORED[..., None], 3, -1).astype(np.uint8)
        Image.fromarray(image).save(root / f"images/{i}.png", exif=exif(orientation))
        Image.fromarray(mask(orientation)).save(root / f"masks/{i}.png", exif=exif(own))
    return root


def fits(root, *words):
    """Return whether each label matches its image, and the notes."""
    config, notes = resolve(folder_config(root, *words))
    sources = [open_source(config, part) for part in ("train", "eval")]
    examples = [source[i] for source in sources for i in range(len(source))]
    found = [np.array_equal(e["image"][..., 0] > 0, e["label"] == 1) for e in examples]
    return all(found), notes


def turned(orientation):
    return np.ascontiguousarray(upright(STORED, orientation))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_of_stored_pixels_are_turned_with_their_images(tmp_path, orientation):
    found, notes = fits(write(tmp_path, (orientation, 1, 1)))
    assert found
    assert len(notes) == 1 + (orientation != 1)
    assert ("sizes of 1 do not tell" in notes[-1]) == (orientation in (2, 3, 4))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_masks_of_the_upright_picture_are_kept(tmp_path, orientation):
    assert fits(write(tmp_path, (orientation, 1), turned))[0]


def test_quarter_turns_decide_about_half_turns(tmp_path):
    found, notes = fits(write(tmp_path, (3, 6, 1), turned))
    assert found
    assert "by their sizes masks are of the turned picture" in notes[1]
    assert "are assumed to be of the turned picture" in notes[1]


def test_config_decides_if_sizes_do_not_tell(tmp_path):
    root = write(tmp_path, (3, 1, 1), turned)
    assert not fits(root)[0]
    found, notes = fits(root, "labels.mask_exif=turned")
    assert found
    assert len(notes) == 1
    with pytest.raises(UserError, match=r"config\.data\.labels\.mask_exif: unknown 'on'"):
        fits(root, "labels.mask_exif=on")


def test_mask_with_its_own_orientation(tmp_path):
    assert fits(write(tmp_path, (3, 3, 3), own=3)) == (True, fits(tmp_path)[1])
    assert len(fits(tmp_path)[1]) == 1
    write(tmp_path / "other", (1, 1), own=6)
    with pytest.raises(UserError, match="the mask was rotated by its EXIF orientation, 6"):
        fits(tmp_path / "other")


def test_arrays_and_lists_are_turned_too(tmp_path):
    root = write(tmp_path, (6, 3, 1))
    lines = ["image,mask"]
    for i in range(3):
        np.save(root / f"masks/{i}.npy", STORED[None])
        (root / f"masks/{i}.png").unlink()
        lines.append(f"images/{i}.png,masks/{i}.npy")
    assert fits(root)[0]
    (root / "list.csv").write_text("\n".join(lines))
    assert fits(root, "source=listing", "annotations=list.csv")[0]


def test_data_check_names_the_file_and_the_key(tmp_path):
    root = write(tmp_path, (3, 1, 1, 1))
    (found,) = [f for f in check(folder_config(root)).findings if f.kind == "EXIF orientation"]
    assert (found.severity, found.line) == ("warning", "--config.data.labels.mask_exif=stored")
    assert str(root / "images/0.png") in found.text
    (root / "images/0.png").rename(root / "images/x.png")
    (root / "masks/0.png").rename(root / "masks/y.png")
    findings = check(folder_config(root, "labels.mask_exif=stored")).findings
    assert "EXIF orientation" not in {f.kind for f in findings}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_orientation_follows_the_rule(orientation):
    quarter = orientation >= 5
    assert mask_orientation(orientation, (6, 9), (6, 9)) == orientation
    wanted = 1 if quarter else orientation
    assert mask_orientation(orientation, (6, 9), (9, 6)) == wanted
    assert mask_orientation(orientation, (7, 7), (7, 7), "turned") == 1
    assert mask_orientation(orientation, (7, 7), (7, 7), "stored") == orientation
    # The sizes decide if they tell.
    assert mask_orientation(orientation, (6, 9), (6, 9), "turned") == (
        orientation if quarter else 1
    )


def test_png_orientation_after_the_pixels(tmp_path):
    Image.fromarray(STORED).save(tmp_path / "a.png", exif=exif(6))
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    moved = content[:start] + content[end:last] + content[start:end] + content[last:]
    (tmp_path / "a.png").write_bytes(moved)
    assert read_orientation(tmp_path / "a.png") == ((6, 9), 6)


def test_assumption_on_unresolved_dataset_is_printed_once(tmp_path, capsys):
    config, _ = resolve(folder_config(write(tmp_path / "plain", (1, 1, 1))))
    assert config.data.labels.mask_exif == "auto"
    config.data.root = str(write(tmp_path / "other", (3, 3, 3)))  # as an evaluation gives it
    source = open_source(config, "train")
    for i in range(2):
        example = source[i]
        np.testing.assert_array_equal(example["image"][..., 0] > 0, example["label"] == 1)
    (line,) = capsys.readouterr().err.splitlines()
    assert "assumed: stored; --config.data.labels.mask_exif" in line
