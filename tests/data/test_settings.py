"""Invalid values of `config.data`: one line each, in every command."""

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli
from fcnjax.io.pictures import IGNORED, default_palette

BAD = {
    "labels.label_map=car,bus": "pairs of a class and its new name",
    "labels.label_map=((1,2),)": "pairs of a class and its new name",
    "labels.mask_colours=((0,0),(1,1))": "RGB triples",
    "palette=1,2,3": "RGB triples",
    "labels.mask_values=a,b,c": "whole numbers from 0 on",
    "labels.mask_values=(0,(1,'y'),2)": "whole numbers from 0 on",
    "labels.ignore_values=x": "whole numbers, as 0 or -1",
    "class_names=1,2,3": "texts",
    "sampling.mix=((1,2),)": "pairs of a config and its weight",
    "sampling.mix=(('folder','x'),)": "pairs of a config and its weight",
    "mean=a,b,c": "numbers",
    "labels.mirror_pairs=(('a',),)": "pairs of two classes",
    "loading.cache=ram": "unknown 'ram'",
    "sampling.class_crop=2": "2.0 is not in 0..1",
    f"images={'a' * 300}": "File name too long",
    f"annotations={'a/' * 600}": "is not a file name of at most",
    "split.train=a\0b": "none of them NUL",
}


@pytest.mark.parametrize("option", BAD)
@pytest.mark.parametrize("command", ["check", "show", "build"])
def test_invalid_value(shapes, tmp_path, capsys, command, option):
    argv = ["data", command, str(shapes), f"--config.data.{option}"]
    argv += [f"--out={tmp_path / 'sheet.png'}"] if command == "show" else []
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"config.data.{option.partition('=')[0]}" in line
    assert BAD[option] in line


def test_data_show(shapes, tmp_path, capsys):
    out = tmp_path / "sheet.png"
    argv = ["data", "show", str(shapes), f"--out={out}", "--count=5"]
    assert cli.main([*argv, "--config.augment.crop=32,40"]) == 0
    printed = capsys.readouterr().out
    assert f"5 examples in {out}" in printed
    assert "--config.data.class_names=class_0,class_1,class_2" in printed
    check_sheet(out, rows=3)
    # A plan would choose a mean and a deviation for one channel.
    assert cli.main([*argv, "--config.data.channels=L", "--config.plan.minutes=0"]) == 2
    assert "config.data.mean and config.data.std" in capsys.readouterr().err
    assert cli.main([*argv[:-2], f"--out={tmp_path / 'sheet.gif'}"]) == 2
    assert "does not end in .png" in capsys.readouterr().err


def check_sheet(path, rows):
    """Check a sheet of crops of 32x40, enlarged eight times: image, label and overlay."""
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    height, width, step = 256, 320, 324
    top = len(pixels) - rows * (height + 16) - 16
    assert pixels.shape[1] == 2 * (2 * step + width + 16) + 16
    image, label, overlay = (
        pixels[top : top + height, x : x + width].astype(int)
        for x in range(16, 16 + 3 * step, step)
    )
    palette = default_palette(3)
    is_clear = (label == palette[0]).all(-1)
    assert 0.1 < is_clear.mean() < 0.9
    assert {tuple(c) for c in label.reshape(-1, 3).tolist()} <= {*palette, IGNORED}
    np.testing.assert_array_equal(overlay[is_clear], image[is_clear])
    assert (overlay != image).any()
    for colour in palette:  # the legend
        assert (pixels[:top] == colour).all(-1).sum() > 100


def test_data_build(shapes, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path))
    for _ in range(2):
        assert cli.main(["data", "build", str(shapes)]) == 0
        out = capsys.readouterr().out
        assert "train: 8 examples" in out
        assert "eval: 2 examples" in out
    assert len(list((tmp_path / "decoded").glob("folder-*/index.json"))) == 2


def test_data_sources(capsys):
    assert cli.main(["data", "sources"]) == 0
    out = capsys.readouterr().out
    assert "coco" in out
    assert "geotiff" in out


def test_values_of_mixed_datasets_are_checked(shapes, capsys):
    mix = f"--config.data.sampling.mix=(('folder:root={shapes}',1.0),)"
    assert cli.main(["data", "check", str(shapes), mix]) == 0
    assert "train: 8 examples" in capsys.readouterr().out
