"""The split of a run stays the same when files are added or removed."""

import json
import os
import shutil

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_sets, open_source, resolve
from fcnjax.data.splits.example import PIECE
from fcnjax.data.splits.matching import as_stored, find_trained_on
from fcnjax.data.splits.opened_set import describe_changes, reopen
from fcnjax.data.splits.stored_split import read_split, store, write_split
from fcnjax.errors import UserError


def picture(number, size=(6, 8)):
    """An image whose pixels encode its number, and a mask of two classes."""
    image = np.full((*size, 3), number, np.uint8)
    mask = np.zeros(size, np.uint8)
    mask[: 1 + number % 5] = 1
    return image, mask


def add(root, *names, start=0):
    """Write images and masks of different contents."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names, start):
        image, mask = picture(number)
        Image.fromarray(image).save(root / f"images/{name}.png")
        Image.fromarray(mask).save(root / f"masks/{name}.png")
    return root


@pytest.fixture
def root(tmp_path):
    return add(tmp_path / "set", *(f"p{i // 2}_{i}" for i in range(10)))


def config_of(root, **changes):
    config = default_config()
    set_data(config, root=str(root), **changes)
    return config


def begin(config, folder):
    """Return the resolved config, the stored split, and the examples of both parts."""
    config, _ = resolve(config)
    sets = open_sets(config)
    stored = [
        store(s.spec, s.config.data, {part: each.examples() for part, each in s.sources.items()})
        for s in sets
    ]
    write_split(folder, tuple(stored))
    read = read_split(folder)
    assert [one.parts for one in read] == [one.parts for one in stored]
    return config, read[0], contents(config, sets)


def contents(config, sets):
    """Return the examples of both parts, in order."""
    found = {}
    for part in ("train", "eval"):
        source = open_source(config, part, sets)
        found[part] = [
            (np.asarray(e["image"]).tolist(), np.asarray(e["label"]).tolist()) for e in source
        ]
    return found


KINDS = {
    "fraction": {},
    "folds": {"folds": 3, "fold": 1},
    "groups": {"group_by": r"(p\d+)_", "eval_fraction": 0.4},
    "list": {"split.by": "list"},
    "auto list": {},
    "seed": {"split.seed": 5},
}


@pytest.mark.parametrize("kind", KINDS)
def test_files_added_to_a_folder_are_not_used(root, tmp_path, kind):
    if "list" in kind:
        (root / "train.txt").write_text("p0_1\np3_7\np0_0\np2_4\n")
        (root / "val.txt").write_text("p4_9\np1_2\n")
    config, stored, before = begin(config_of(root, **KINDS[kind]), tmp_path)
    add(root, "a", "p0_0b", "p9_9", "strange", start=50)
    if "list" in kind:  # an image moved to the other part, one left both, and one came
        (root / "train.txt").write_text("p0_1\np4_9\np0_0\na\n")
        (root / "val.txt").write_text("p3_7\np1_2\n")
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    (line,) = describe_changes(opened, "are not used")
    new = 1 if "list" in kind else 4
    assert f"{root}: has changed since the run began: {new} new image" in line
    assert line.startswith(f"{root}:")
    if new == 4:
        names = [e["name"] for e in opened.sources["new"]]
        assert names == ["a", "p0_0b", "p9_9", "strange"]


def test_list_added_later_does_not_change_the_split(root, tmp_path):
    config, stored, before = begin(config_of(root), tmp_path)
    for part in ("train", "val"):
        (root / f"{part}.txt").write_text("p0_0\np0_1\n")
    assert contents(config, [reopen(config, stored)]) == before


def test_unchanged_dataset_is_opened_without_selection(root, tmp_path):
    """A cache of its decoded files then serves a resumed run."""
    config, stored, _ = begin(config_of(root), tmp_path)
    opened = reopen(config, stored)
    plain = open_sets(config)[0]
    for part in ("train", "eval"):
        assert opened.sources[part].stamps() == plain.sources[part].stamps()
    assert describe_changes(opened, "") == []


def test_missing_file_is_refused_or_skipped(root, tmp_path):
    config, stored, before = begin(config_of(root), tmp_path)
    gone = stored.parts["train"][2].names
    for name in gone:
        (root / name).unlink()
    with pytest.raises(UserError, match=rf"1 of the 10 examples of .* {gone[0]}; put"):
        reopen(config, stored)
    config.data.loading.on_error = "skip"
    opened = reopen(config, stored)
    found = contents(config, [opened])
    assert found["eval"] == before["eval"]
    # The next one replaces it, and all others keep their position.
    expected = list(before["train"])
    expected[2] = expected[3]
    assert found["train"] == expected
    assert f"are skipped: {gone[0]}" in describe_changes(opened, "")[-1]
    with pytest.raises(UserError, match=f"{gone[0]}: is missing"):
        opened.sources["train"][2]
    for path in sorted((root / "masks").iterdir())[:3]:
        path.unlink()
        (root / "images" / path.name).unlink()
    with pytest.raises(UserError, match=r"of the 10 examples of the run's split are missing"):
        reopen(config, stored)  # more than config.data.loading.skip_most


def test_renamed_file_is_found_by_its_contents(root, tmp_path):
    config, stored, before = begin(config_of(root), tmp_path)
    old = stored.parts["eval"][0].names[0]
    stem = old.split("/")[1]
    for folder in ("images", "masks"):
        (root / folder / stem).rename(root / folder / f"zz_{stem}")
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert opened.match.renamed == [(old, f"images/zz_{stem}")]
    assert f"with the same contents: {old} is images/zz_{stem}" in describe_changes(opened, "")[0]
    assert not opened.new


def test_renumbered_files_are_found_by_their_contents(tmp_path):
    root = add(tmp_path / "set", *(f"frame{i:02}" for i in range(10)))
    config, stored, before = begin(config_of(root), tmp_path)
    for folder in ("images", "masks"):  # one is put between them, and all after it move on
        for number in range(9, 3, -1):
            path = root / folder / f"frame{number:02}.png"
            path.rename(root / folder / f"frame{number + 1:02}.png")
    add(root, "frame04", start=50)
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert len(opened.match.renamed) == 6
    assert opened.match.changed == []
    assert opened.new == ["images/frame04.png"]
    assert reopen(config, stored, ("eval",)).new == ["images/frame04.png"]
    # One was removed, and the next has its name, but does not replace it.
    for folder in ("images", "masks"):
        (root / folder / "frame01.png").unlink()
        (root / folder / "frame02.png").rename(root / folder / "frame01.png")
    with pytest.raises(UserError, match=r"are missing: images/frame01.png; put"):
        reopen(config, stored)


def test_corrected_mask_is_reported(root, tmp_path):
    config, stored, before = begin(config_of(root), tmp_path)
    name = stored.parts["train"][0].names[1]
    os.utime(root / name, ns=(1, 1))
    assert describe_changes(reopen(config, stored), "") == []  # another time, the same contents
    Image.fromarray(np.eye(6, 8, dtype=np.uint8)).save(root / name)
    opened = reopen(config, stored)
    assert not opened.match.images_changed
    (line,) = describe_changes(opened, "")
    assert f"the contents of 1 of the run's files changed since it began ({name})" in line
    found = contents(config, [opened])
    assert found["train"][0][1] == np.eye(6, 8, dtype=int).tolist()
    assert found["train"][1:] == before["train"][1:]
    # The current file is then stored: the change is reported once.
    assert describe_changes(reopen(config, opened.stored), "") == []


def test_copy_of_the_dataset_has_the_same_files(root, tmp_path):
    config, stored, before = begin(config_of(root), tmp_path)
    shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copy)
    shutil.rmtree(root)
    config.data.root = str(tmp_path / "copy")
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert describe_changes(opened, "") == []
    assert opened.stored.root == str(tmp_path / "copy")


@pytest.mark.parametrize(
    ("stems", "changes"), [("a", {}), ("ab", {"split.by": "windows"}), ("abc", {})]
)
def test_split_keeps_windows_of_rasters(tmp_path, stems, changes):
    pytest.importorskip("rasterio")
    from test_geotiff import config_of, write

    root = write(tmp_path / "set", stems)
    config, stored, before = begin(config_of(root, **changes), tmp_path)
    assert stems != "a" or stored.parts["eval"][0].box[1][0] > 0  # divided by columns
    write(tmp_path / "more", "0123")
    for folder in ("images", "masks"):
        shutil.copy(tmp_path / "more" / folder / "3.tif", root / folder / "0.tif")
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert opened.new == ["images/0.tif"]


def test_split_keeps_slices_of_volumes(tmp_path):
    pytest.importorskip("nibabel")
    from test_nifti import config_of, save, write

    root = tmp_path / "set"
    write(root, "a")
    config, stored, before = begin(config_of(root), tmp_path)
    assert stored.parts["eval"][0].box[:2] == ((0, 9), (0, 11))
    for folder in ("images", "masks"):
        save(root / folder / "b.nii.gz", np.full((9, 11, 20), 1, np.uint8))
    opened = reopen(config, stored)  # whole volumes would now be held out
    assert contents(config, [opened]) == before
    assert opened.new == ["images/b.nii.gz"]


# pycocotools 2.0.11 with NumPy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_split_keeps_images_of_an_annotations_file(tmp_path):
    pytest.importorskip("pycocotools")
    from test_coco import box, config_of, region, write

    root = tmp_path / "set"
    regions = [region(7, [box(0, 0, k, k)], image=k) for k in range(1, 7)]
    changes = {"annotations": "train.json", "images": "train"}
    config, stored, before = begin(config_of(write(root, regions, count=6), **changes), tmp_path)
    content = json.loads((root / "train.json").read_text())
    write(root, [region(0, [box(0, 0, 2, 1)], image=9), *reversed(regions)], count=9)
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert opened.new == ["train/7.png", "train/8.png", "train/9.png"]
    assert opened.match.changed == []  # the file did, and no label
    content["annotations"][2]["segmentation"] = [box(0, 0, 2, 2)]
    (root / "train.json").write_text(json.dumps(content))
    assert reopen(config, stored).match.changed == ["train/3.png"]
    (root / "train/3.png").unlink()
    with pytest.raises(UserError, match=r"are missing: train/3.png"):
        reopen(config, stored)


def test_split_keeps_images_with_own_annotations(tmp_path):
    from test_labelme import CAT, config_of, write

    root = tmp_path / "set"
    root.mkdir()
    for number, stem in enumerate("bcdefg"):
        write(root, [CAT], stem, number)
    config, stored, before = begin(config_of(root), tmp_path)
    write(root, [CAT], "a", 99)
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert opened.new == ["a.png"]


def test_split_keeps_rows_of_a_list(root, tmp_path):
    rows = [f"images/{p.name},masks/{p.name}" for p in sorted((root / "images").iterdir())]
    changes = {"source": "listing", "annotations": "list.csv"}
    (root / "list.csv").write_text("\n".join(["image,mask", *rows]))
    config, stored, before = begin(config_of(root, **changes), tmp_path)
    add(root, "a", start=50)
    rows = ["images/a.png,masks/a.png", *reversed(rows)]
    (root / "list.csv").write_text("\n".join(["image,mask", *rows]))
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert opened.new == ["images/a.png"]


def test_split_keeps_rows_of_a_table(tmp_path):
    datasets = pytest.importorskip("datasets")
    from test_hf import config_of, table

    datasets.disable_progress_bars()
    table(range(6)).save_to_disk(tmp_path / "set")
    changes = {"split.train": "train[:4]", "split.eval": "train[4:]"}
    config, stored, before = begin(config_of(tmp_path / "set", **changes), tmp_path)
    assert [one.title for one in stored.parts["eval"]] == ["train[4]", "train[5]"]
    table(range(9)).save_to_disk(tmp_path / "more")
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "more").rename(tmp_path / "set")
    opened = reopen(config, stored)
    assert contents(config, [opened]) == before
    assert opened.new == ["train[6]", "train[7]", "train[8]"]
    table([7, *range(6)]).save_to_disk(tmp_path / "shifted")
    shutil.rmtree(tmp_path / "set")
    (tmp_path / "shifted").rename(tmp_path / "set")
    with pytest.raises(UserError, match=r"rows of the set are not those .* \(train\[0\], train"):
        reopen(config, stored)
    rows = as_stored(opened.sources["train"].examples(), stored)
    assert find_trained_on(rows, stored, same_records=True) == [one.title for one in rows]
    assert find_trained_on(rows, stored) == []  # of another file, and so of another set


def test_training_images_are_detected_by_contents(root, tmp_path):
    _, stored, _ = begin(config_of(root), tmp_path)
    trained = [one.names[0] for one in stored.parts["train"]]
    other = tmp_path / "other"
    add(other, *(f"p{i // 2}_{i}" for i in range(4)), start=70)  # names of the run's own images
    for folder in ("images", "masks"):
        shutil.copy(root / folder / trained[1].split("/")[1], other / folder / "copy.png")
    moved, _ = resolve(config_of(other))
    every = [e for source in open_sets(moved)[0].sources.values() for e in source.examples()]
    assert find_trained_on(as_stored(every, stored), stored) == ["images/copy.png"]
    assert find_trained_on(stored.parts["eval"], stored) == []
    assert find_trained_on(stored.parts["train"], stored) == trained


def test_overlapping_windows_count_as_trained_on(tmp_path):
    pytest.importorskip("rasterio")
    from test_geotiff import config_of, write

    root = write(tmp_path / "set", "a", size=(16, 100))
    _, stored, _ = begin(config_of(root, split_by="blocks", eval_fraction=0.4), tmp_path)
    assert find_trained_on(stored.parts["eval"], stored) == []
    wider, _ = resolve(config_of(root, split_by="blocks", eval_fraction=0.5))
    examples = open_sets(wider)[0].sources["eval"].examples()
    assert [e.box[1] for e in examples] == [(50, 70), (70, 90), (90, 100)]
    found = find_trained_on(as_stored(examples, stored), stored)
    assert found == ["images/a.tif[0:16, 50:70]"]  # up to column 60 it is


def test_rewritten_large_file_is_reported(root, tmp_path, monkeypatch):
    monkeypatch.setattr("fcnjax.data.splits.stored_split.hashed_bytes", lambda files: PIECE)
    name = "masks/p0_0.png"
    with (root / name).open("ab") as file:
        file.write(bytes(3 * PIECE))
    config, stored, _ = begin(config_of(root), tmp_path)
    os.utime(root / name, ns=(1, 1))
    (line,) = describe_changes(reopen(config, stored), "")
    assert f"1 large files were written again since the run began ({name}); samples" in line


def test_damaged_split_files_are_refused(tmp_path, root):
    assert read_split(tmp_path) is None
    begin(config_of(root), tmp_path)
    path = tmp_path / "split.json"
    text = path.read_text()
    for other, words in (
        (text.replace('"format_version": 2', '"format_version": 9'), "format_version is 9"),
        (text.replace('"files"', '"fils"'), "is not a split that fcnjax wrote: has no 'files'"),
        (text.replace('"train": [', '"trained": ['), "has no 'train'"),
        (text.replace('"eval": [', '"evaluated": ['), "its first set has no 'eval'"),
        (text.replace("[0, 1]]", "[0, 999]]"), "is not an example"),
        (text.replace("[0, 1]]", "[0, -1]]"), "is not an example"),
        (text.replace('"hashed_bytes": ', '"hashed_bytes": -'), "'hashed_bytes' is -"),
        (
            text.replace('"folds": 0', '"folds": "0"'),
            "data.split.folds: is '0'; valid: a whole number",
        ),
        (text[:-9], "is not JSON"),
        ("[]", "format_version is None"),
    ):
        path.write_text(other)
        with pytest.raises(UserError, match=words):
            read_split(tmp_path)
