"""Faults are planted in a sound set, and the lines that are proposed are pasted."""

import shutil

import numpy as np
import pytest
from PIL import Image
from validation_sets import (
    COUNT,
    SIZE,
    assert_right,
    config_of,
    draw,
    find,
    kinds,
    labels_of,
    pasted,
    write,
)

from fcnjax import cli
from fcnjax.config import load_config
from fcnjax.data import resolve
from fcnjax.errors import UserError
from fcnjax.validate import ERROR, NOTE, WARNING, check, quick_check
from fcnjax.validate.checks.suggestions import suggest_crop
from fcnjax.validate.masks import summarise_mask
from fcnjax.validate.statistics import DatasetStatistics, median_frequency_weights

RGB = np.asarray([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)
THREE = "--config.data.class_names=ground,disc,bar"
TWO = "--config.data.class_names=ground,thing"


def test_sound_dataset_has_only_notes(tmp_path):
    checked = check(config_of(write(tmp_path)))
    assert kinds(checked.findings, ERROR, WARNING) == set()
    line = pasted(tmp_path, find(checked.findings, "encoding", NOTE))
    assert line.data.labels.mask_values == (0, 1, 2)
    assert_right(line)
    truth = np.bincount(np.concatenate([draw(i)[1].ravel() for i in range(7)]))
    np.testing.assert_array_equal(checked.statistics["train"].counts, truth)
    np.testing.assert_array_equal(checked.statistics["eval"].images_with, [3, 3, 3])


@pytest.mark.parametrize("values", ["", "--config.data.labels.mask_values=0,1"])
@pytest.mark.parametrize("ignore", ["", "--config.data.ignore_label=254"])
def test_black_and_white(tmp_path, values, ignore):
    write(tmp_path, lambda label: label * 255, classes=2)
    options = [TWO, *filter(None, (values, ignore))]
    findings = check(config_of(tmp_path, *options)).findings
    severity = ERROR if values else NOTE
    kind = "values outside the classes" if values and ignore else "encoding"
    found = find(findings, kind, severity)
    assert "0, 255" in found.text or "hold 255" in found.text
    assert "--config.data.labels.mask_values=0,255" in found.overrides
    fixed = pasted(tmp_path, found, *options)
    assert_right(fixed, classes=2)
    assert kinds(check(fixed).findings, ERROR, WARNING) == set()


def test_palette_with_gaps(tmp_path):
    def encode(label):
        mask = Image.fromarray(np.asarray([0, 7, 15], np.uint8)[label])
        mask.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
        return mask

    write(tmp_path, encode)
    found = find(check(config_of(tmp_path)).findings, "encoding", WARNING)
    assert "palette masks hold 0, 7, 15" in found.text
    assert found.overrides == ("--config.data.labels.mask_values=0,7,15",)
    assert_right(pasted(tmp_path, found))
    found = find(check(config_of(tmp_path, THREE)).findings, "values outside the classes", ERROR)
    assert_right(pasted(tmp_path, found, THREE))


def test_palettes_that_differ(tmp_path):
    orders = iter([np.roll([0, 1, 2], i) for i in range(COUNT)])

    def encode(label):
        order = next(orders)
        mask = Image.fromarray(order.astype(np.uint8)[label])
        palette = np.zeros((256, 3), np.uint8)
        palette[order] = RGB
        mask.putpalette(palette.ravel().tolist())
        return mask

    write(tmp_path, encode)
    found = find(check(config_of(tmp_path)).findings, "encoding", ERROR)
    assert "palettes of the masks differ" in found.text
    fixed = pasted(tmp_path, found)
    assert fixed.data.labels.mask_colours == ((0, 0, 0), (0, 128, 0), (128, 0, 0))
    assert_right(config_of(tmp_path, *found.overrides, "--config.data.labels.mask_values=0,2,1"))
    assert find(check(fixed).findings, "encoding").severity == NOTE


def test_random_palette_colours_are_ignored(tmp_path):
    rng = np.random.default_rng(0)

    def encode(label):
        mask = Image.fromarray(label)
        mask.putpalette(rng.integers(0, 256, 768).tolist())
        return mask

    findings = check(config_of(write(tmp_path, encode))).findings
    assert "palette masks hold 0, 1, 2: 3 classes" in find(findings, "encoding", NOTE).text


def test_rgb_coded(tmp_path):
    write(tmp_path, lambda label: RGB[label])
    note = find(check(config_of(tmp_path)).findings, "encoding", NOTE)
    assert "--config.data.labels.mask_colours='((0,0,0),(0,128,0),(128,0,0))'" in note.line
    options = ["--config.data.labels.encoding=ids", "--config.data.labels.mask_values=0,1,2"]
    findings = check(config_of(tmp_path, *options)).findings
    assert "unusable examples" in kinds(findings, ERROR)
    found = find(findings, "encoding", ERROR)
    fixed = pasted(tmp_path, found, *options)
    assert fixed.data.labels.encoding == "rgb"
    fixed.data.labels.mask_values = (0, 2, 1)  # the order of the classes is nobody's to guess
    assert_right(fixed)


def test_names_are_proposed_by_colour(tmp_path):
    write(tmp_path, lambda label: RGB[label])
    note = find(check(config_of(tmp_path)).findings, "class names", NOTE)
    assert "--config.data.class_names='background,dark green,dark red'" in note.line
    assert "dark red (128, 0, 0)" in note.text
    fixed = pasted(tmp_path, note)
    assert "class names" not in kinds(check(fixed).findings, NOTE)
    data = resolve(fixed)[0].data
    assert dict(zip(data.class_names, data.palette, strict=True)) == {
        "background": (0, 0, 0),
        "dark green": (0, 128, 0),
        "dark red": (128, 0, 0),
    }


def test_names_are_proposed_by_the_palette_of_masks(tmp_path):
    def encode(label):
        mask = Image.fromarray(label)
        mask.putpalette([9, 9, 200, 255, 0, 0, 250, 5, 5])
        return mask

    note = find(check(config_of(write(tmp_path, encode))).findings, "class names", NOTE)
    assert note.overrides == ("--config.data.class_names=blue,red 1,red 2",)
    assert_right(pasted(tmp_path, note))


def test_rgb_with_unlisted_colour(tmp_path):
    write(tmp_path, lambda label: RGB[label])
    options = [
        "--config.data.labels.encoding=rgb",
        "--config.data.labels.mask_colours=((0,0,0),(0,128,0))",
    ]
    found = find(check(config_of(tmp_path, *options)).findings, "encoding", ERROR)
    assert "lacks (128, 0, 0)" in found.text
    config, _ = resolve(pasted(tmp_path, found, *options))
    assert config.data.labels.mask_colours == ((0, 0, 0), (0, 128, 0), (128, 0, 0))
    assert len(config.data.class_names) == 3
    options.append("--config.data.class_names=ground,bar")
    found = find(check(config_of(tmp_path, *options)).findings, "encoding", ERROR)
    label = labels_of(pasted(tmp_path, found, *options))["p1"]
    np.testing.assert_array_equal(label, np.asarray([0, 255, 1])[draw(1)[1]])


def test_rgb_with_black_as_no_class(tmp_path):
    write(tmp_path, lambda label: RGB[label])
    options = ["--config.data.class_names=bar,disc"]
    found = find(check(config_of(tmp_path, *options)).findings, "encoding", ERROR)
    # Names alone do not say which colour is which: no line is proposed that would guess it.
    assert not found.overrides
    assert "(0, 0, 0), (0, 128, 0), (128, 0, 0)" in found.text


def test_off_by_one_without_names(tmp_path):
    write(tmp_path, lambda label: label + 1)
    findings = check(config_of(tmp_path)).findings
    found = find(findings, "encoding", WARNING)
    assert "count from 1" in found.text
    assert found.overrides == ("--config.data.labels.mask_values=1,2,3",)
    assert_right(pasted(tmp_path, found))
    resolved, _ = resolve(config_of(tmp_path))
    assert find(quick_check(resolved), "encoding", WARNING).overrides == found.overrides


def test_off_by_one_with_names(tmp_path):
    write(tmp_path, lambda label: label + 1)
    found = find(check(config_of(tmp_path, THREE)).findings, "values outside the classes", ERROR)
    assert "hold 3" in found.text
    assert_right(pasted(tmp_path, found, THREE))


def test_off_by_one_with_zero_ignored(tmp_path):
    write(tmp_path)
    names = "--config.data.class_names=disc,bar"
    found = find(check(config_of(tmp_path, names)).findings, "values outside the classes", ERROR)
    assert found.line == "--config.data.labels.mask_values=1,2 --config.data.labels.ignore_values=0"
    assert_right(pasted(tmp_path, found, names), ignored=0)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_jpeg_masks(tmp_path, suffix):
    write(tmp_path, lambda label: label * 255, classes=2)
    for path in sorted(tmp_path.glob("masks/*/*.png")):
        jpeg = path.with_suffix(".jpg")
        Image.open(path).save(jpeg, quality=60)
        path.unlink()
        if suffix == "png":  # the damage outlives the file
            Image.open(jpeg).save(path)
            jpeg.unlink()
    assert summarise_mask(next(tmp_path.glob("masks/*/*"))).blended
    findings = check(config_of(tmp_path)).findings
    found = find(findings, "blended masks", ERROR)
    assert f"{COUNT} of {COUNT} masks" in found.text
    fixed = pasted(tmp_path, found)
    assert_right(fixed, classes=2, exact=0.99)
    assert kinds(check(fixed).findings, ERROR) == set()


def test_resized_masks(tmp_path):
    def encode(label):
        mask = Image.fromarray(np.asarray([0, 60, 200], np.uint8)[label])
        return mask.resize((27, 21), Image.Resampling.BOX).resize(
            (80, 64), Image.Resampling.BICUBIC
        )

    found = find(check(config_of(write(tmp_path, encode))).findings, "blended masks", ERROR)
    assert "nearest neighbour" in found.text
    assert found.overrides == ()  # between three values lies a third


def test_masks_of_small_regions_are_not_blended(tmp_path):
    values = np.arange(1, 25, dtype=np.uint8).reshape(4, 6).repeat(3, 0).repeat(3, 1)
    mask = np.zeros((200, 200), np.uint8)
    mask[20:32, 30:48] = values
    Image.fromarray(mask).save(tmp_path / "m.png")
    assert not summarise_mask(tmp_path / "m.png").blended


def test_numbers_of_objects(tmp_path):
    rng = np.random.default_rng(0)

    def encode(label):
        mask = np.zeros(SIZE, np.uint8)
        for i in range(rng.integers(5, 13)):
            y, x = divmod(i, 4)
            mask[4 + 16 * y : 12 + 16 * y, 4 + 16 * x : 14 + 16 * x] = i + 1
        return mask

    write(tmp_path, encode)
    found = find(check(config_of(tmp_path)).findings, "encoding", WARNING)
    assert found.overrides == ("--config.data.labels.encoding=instances",)
    stored = {p.stem: np.asarray(Image.open(p)) for p in tmp_path.glob("masks/*/*")}
    for name, label in labels_of(pasted(tmp_path, found)).items():
        np.testing.assert_array_equal(label, stored[name] > 0)


def test_stray_255_is_ignored(tmp_path):
    def encode(label):
        return np.where(np.arange(SIZE[1]) == 5, 255, label).astype(np.uint8)

    write(tmp_path, encode)
    checked = check(config_of(tmp_path))
    ignored = [f.text for f in checked.findings if f.kind == "ignored pixels"]
    assert ignored[0].startswith("1.2% of the pixels of train")
    options = [THREE, "--config.data.ignore_label=200"]
    findings = check(config_of(tmp_path, *options)).findings
    found = find(findings, "values outside the classes", ERROR)
    assert found.overrides == ("--config.data.labels.ignore_values=255",)
    label = labels_of(pasted(tmp_path, found, *options))["p0"]
    assert (label[:, 5] == 200).all()
    np.testing.assert_array_equal(np.delete(label, 5, 1), np.delete(draw(0)[1], 5, 1))


def test_value_outside_the_classes(tmp_path):
    write(tmp_path)
    mask = draw(4)[1]
    mask[:2, :2] = 77
    Image.fromarray(mask).save(tmp_path / "masks/train/p4.png")
    options = ["--config.data.labels.mask_values=0,1,2"]
    findings = check(config_of(tmp_path, *options)).findings
    found = find(findings, "values outside the classes", ERROR)
    assert "1 of 10 masks hold 77" in found.text
    assert "p4" in find(findings, "unusable examples", ERROR).text
    assert (labels_of(pasted(tmp_path, found, *options))["p4"][:2, :2] == 255).all()


def test_size_mismatches_are_named(tmp_path):
    write(tmp_path)
    for number in (1, 2, 3, 4):
        path = tmp_path / f"masks/train/p{number}.png"
        Image.open(path).crop((0, 0, 70, 64)).save(path)
    checked = check(config_of(tmp_path))
    found = find(checked.findings, "size mismatch", ERROR)
    assert "4 of 10 examples" in found.text
    assert "p1.png: is 70x64 pixels" in found.text
    assert "and 1 more" in found.text
    # Told once; the classes of the others are counted, under the config's own on_error.
    assert "cannot be opened" not in {finding.kind for finding in checked.findings}
    assert checked.is_resolved
    assert checked.config.data.loading.on_error == "raise"
    assert find(checked.findings, "class weights")


def test_corrupt_files_are_named(tmp_path):
    write(tmp_path)
    for path in (tmp_path / "images/train/p2.png", tmp_path / "masks/val/p8.png"):
        path.write_bytes(path.read_bytes()[:80])
    (tmp_path / "masks/train/p3.png").write_text("no picture")
    findings = check(config_of(tmp_path)).findings
    text = find(findings, "unreadable files", ERROR).text
    assert "3 of 10 examples" in text
    assert all(f"p{i}.png: cannot be read" in text for i in (2, 3, 8))


def test_images_without_a_mask(tmp_path):
    write(tmp_path, lambda label: label + 1)
    (tmp_path / "masks/train/p2.png").unlink()
    findings = check(config_of(tmp_path, THREE)).findings
    assert "p2: no mask in" in find(findings, "cannot be opened", ERROR).text
    found = find(findings, "values outside the classes", ERROR)
    assert "9 masks" in found.text
    assert "--config.data.labels.mask_values=1,2,3" in found.overrides


def test_leaks_and_duplicates(tmp_path):
    write(tmp_path)
    for source, target in (("train/p0", "val/p7"), ("train/p1", "train/p2")):
        shutil.copy(tmp_path / f"images/{source}.png", tmp_path / f"images/{target}.png")
    findings = check(config_of(tmp_path)).findings
    assert "1 images are in train and in eval" in find(findings, "leak", ERROR).text
    assert "train/p0.png = " in find(findings, "leak").text
    assert "p2.png" in find(findings, "duplicates", WARNING).text
    assert "2 images" in find(findings, "contradicting labels", WARNING).text
    assert "leak" in kinds(quick_check(config_of(tmp_path)), ERROR)
    one_split = check(config_of(tmp_path, "--config.data.split.eval=train")).findings
    assert "6 images are in train and in eval" in find(one_split, "leak", WARNING).text


def test_near_duplicates_are_a_warning(tmp_path):
    write(tmp_path)
    image = np.asarray(Image.open(tmp_path / "images/train/p0.png"))
    (tmp_path / "images/val/p7.png").unlink()
    Image.fromarray((image * 0.97 + 8).astype(np.uint8)).save(tmp_path / "images/val/p7.jpg")
    findings = check(config_of(tmp_path)).findings
    assert "1 images of eval" in find(findings, "near duplicates", WARNING).text
    assert "leak" not in kinds(findings, ERROR)


def test_an_empty_class(tmp_path):
    write(tmp_path)
    for path in tmp_path.glob("masks/val/*"):
        Image.fromarray(np.asarray(Image.open(path)) % 2).save(path)
    options = ["--config.data.class_names=ground,disc,bar,sky"]
    texts = {
        f.text for f in check(config_of(tmp_path, *options)).findings if f.kind == "empty class"
    }
    assert any(text.startswith("sky: in no label of train") for text in texts)
    assert any(text.startswith("bar, sky: in no label of eval") for text in texts)


def test_one_class_is_an_error(tmp_path):
    write(tmp_path)
    for path in tmp_path.glob("masks/train/*"):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(path)
    assert "1 class of 3" in find(check(config_of(tmp_path)).findings, "one class", ERROR).text
    find(quick_check(config_of(tmp_path)), "one class", WARNING)


def test_suggestions(tmp_path):
    checked = check(config_of(write(tmp_path)))
    pixels = np.concatenate([draw(i)[0].reshape(-1, 3) for i in range(7)]) / 255
    config = pasted(tmp_path, find(checked.findings, "normalisation", NOTE))
    np.testing.assert_allclose(config.data.mean, pixels.mean(0), atol=1e-4)
    np.testing.assert_allclose(config.data.std, pixels.std(0), atol=1e-4)
    assert pasted(tmp_path, find(checked.findings, "image sizes")).augment.crop == (64, 64)
    share = np.bincount(np.concatenate([draw(i)[1].ravel() for i in range(7)])) / (7 * 64 * 80)
    config = pasted(tmp_path, find(checked.findings, "class weights", NOTE))
    np.testing.assert_allclose(config.loss.class_weights, np.median(share) / share, rtol=1e-3)


def test_median_frequency_uses_images_with_the_class():
    tally = DatasetStatistics([], 3)
    tally.counts, tally.beside = np.asarray([60, 20, 0]), np.asarray([100, 40, 0])
    # Frequencies 0.6 and 0.5, their median 0.55; the third is never seen.
    np.testing.assert_allclose(median_frequency_weights(tally), [0.55 / 0.6, 1.1, 1.0])


def test_suggested_crop_fits_nine_of_ten():
    assert suggest_crop(np.asarray([(100, 130)] * 9 + [(20, 20)])) == (96, 128)
    assert suggest_crop(np.asarray([(45, 53)])) == (64, 64)
    assert suggest_crop(np.asarray([(2048, 700)])) == (512, 512)


def test_quick_check_reports_number_of_examples(tmp_path):
    write(tmp_path)
    for number in range(80):
        for name in ("images", "masks"):
            source = tmp_path / f"{name}/train/p0.png"
            shutil.copy(source, tmp_path / f"{name}/train/q{number:02}.png")
    options = ["--config.data.class_names=ground,disc,bar,sky"]
    findings = quick_check(config_of(tmp_path, *options))
    notes = [f.text for f in findings if f.kind == "empty class"]
    assert any("64 examples of train looked at" in text for text in notes)
    assert kinds(findings, NOTE).isdisjoint({"normalisation", "class weights", "image sizes"})


def test_command(tmp_path, capsys):
    root = write(tmp_path / "a, set")
    options = ["--config.augment.crop=32,32", f"--out={tmp_path / 'page'}"]
    assert cli.main(["data", "check", str(root), *options]) == 0
    out = capsys.readouterr().out
    assert "0 errors, 0 warnings" in out
    page = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 3 * (7 + 3)  # image, label and overlay
    assert "class_0 (clear in the overlay)" in page
    assert "--config.data.labels.mask_values=0,1,2" in page
    assert "http" not in page
    (root / "images/train/p2.png").write_text("no picture")
    assert cli.main(["data", "check", str(root)]) == 1
    assert "error: unreadable files: 1 of 10 examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere"], ["nowhere"]),
        (["folder:root=nowhere"], ["config.data.root", "'nowhere'"]),
        (["folder", "--config.data.source=foldr"], ["config.data.source", "'foldr'"]),
        (["folder", "--output=x"], ["--output=x"]),
    ],
)
def test_mistakes_of_the_user(argv, words, capsys):
    assert cli.main(["data", "check", *argv]) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err


def test_quick_check_of_nothing():
    with pytest.raises(UserError, match=r"config\.data\.root"):
        quick_check(load_config("folder"))
