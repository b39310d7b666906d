"""Invalid values of `config.data`: one line each, in every command."""

import pytest
from PIL import Image

from fcnjax import cli

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
    assert f"5 examples in {out}" in capsys.readouterr().out
    # Four pairs of 40x32 in a row, and a second row for the fifth.
    with Image.open(out) as sheet:
        assert sheet.size == (4 * (80 + 6) + 6, 2 * (32 + 6) + 6)
    assert cli.main([*argv, "--config.data.channels=L"]) == 2
    assert "config.data.mean and config.data.std" in capsys.readouterr().err
    assert cli.main([*argv[:-2], f"--out={tmp_path / 'sheet.gif'}"]) == 2
    assert "does not end in .png" in capsys.readouterr().err


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
