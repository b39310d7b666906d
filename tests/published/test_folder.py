"""Folders of published models: what is read from them, and one-line errors for what is wrong."""

import json

import numpy as np
import pytest
from drawn_models import drawn_tensors, read_config, read_model, size_of, write_published
from PIL import Image
from safetensors.numpy import save_file

from fcnjax import cli, load
from fcnjax.errors import UserError

NAME = "segformer"


@pytest.fixture
def folder(tmp_path):
    return write_published(NAME, tmp_path / NAME)


def change(folder, file="config.json", **values):
    """Change keys of a JSON file; None removes one."""
    content = json.loads((folder / file).read_text())
    for key, value in values.items():
        content.pop(key, None)
        if value is not None:
            content[key] = value
    (folder / file).write_text(json.dumps(content))


def test_names_palette_and_preprocessing_come_with_the_model(folder):
    names = {"0": "background", "1": "building", "2": "road", "3": "water", "4": "barren"}
    names |= {"5": "forest", "6": "agricultural"}
    change(folder, id2label=names)
    config = read_config(folder, print)
    assert config.data.class_names == tuple(names.values())
    assert config.data.palette[3] == (0, 0, 255)
    assert config.data.pixel_type == "uint8"
    assert (config.eval.resize.rule, config.eval.resize.size) == ("stretch", (60, 76))


def test_equal_names_are_told_apart(folder):
    change(folder, id2label={"0": "a", "1": "b", "2": "a", "3": "a", "4": " c  d"})
    assert read_config(folder, print).data.class_names == ("a", "b", "a (2)", "a (3)", "c d")


@pytest.mark.parametrize(
    ("file", "values", "words"),
    [
        ("config.json", {"architectures": ["ViTForImageClassification"]}, "valid: .*Segformer"),
        ("config.json", {"architectures": None}, "architectures is None; valid: one name"),
        ("config.json", {"hidden_act": "relu"}, "hidden_act is 'relu'; supported: 'gelu'"),
        ("config.json", {"depths": [1, 2]}, "entries, and depths 2"),
        ("config.json", {"depths": "many"}, "'depths' is 'many'; valid: a list"),
        ("config.json", {"num_channels": 1}, "num_channels is not 3"),
        ("config.json", {"hidden_sizes": [8, 12, 16, 24]}, "cannot be divided among 5 heads"),
        ("config.json", {"hidden_sizes": [8, 12, 16, 25]}, "has the shape .*config.json describes"),
        ("config.json", {"depths": [1, 2, 1, 3]}, "tensors are missing: segformer"),
        ("config.json", {"id2label": {"0": "a", "2": "b"}}, "has not the ids 0 to 1"),
        ("preprocessor_config.json", {"image_processor_type": "X"}, "supported: Segformer"),
        ("preprocessor_config.json", {"size": {"side": 3}}, "has no height and width"),
        ("preprocessor_config.json", {"resample": 9}, "resample is 9; valid: 0..5"),
        ("preprocessor_config.json", {"image_std": [0, 1, 1]}, "image_std or rescale_factor"),
    ],
)
def test_what_cannot_be_used_is_one_line(folder, file, values, words):
    change(folder, file, **values)
    with pytest.raises(UserError, match=words):
        read_model(folder)


def test_without_a_processor_imagenet_is_assumed_and_said(folder):
    (folder / "preprocessor_config.json").unlink()
    lines = []
    config = read_config(folder, lines.append)
    assert config.data.mean == (0.485, 0.456, 0.406)
    assert config.eval.resize.rule == ""
    assert "ImageNet's normalisation is assumed" in lines[0]


def test_normalisation_is_that_of_pixels_in_0_to_1(folder):
    change(folder, "preprocessor_config.json", rescale_factor=1 / 127.5, image_mean=[1, 1, 1])
    change(folder, "preprocessor_config.json", image_std=[1, 1, 1])
    data = read_config(folder, print).data
    np.testing.assert_allclose(data.mean, 0.5)
    np.testing.assert_allclose(data.std, 0.5)


def test_labels_that_count_from_one_are_said(folder):
    for key in ("do_reduce_labels", "reduce_labels"):
        values = {"do_reduce_labels": None, "reduce_labels": None, key: True}
        change(folder, "preprocessor_config.json", **values)
        lines = []
        read_config(folder, lines.append)
        assert "one more than their ids" in lines[0]


def test_a_processor_of_an_older_version_is_read(folder):
    keys = {"image_processor_type": None, "feature_extractor_type": "MaskFormerFeatureExtractor"}
    keys |= {"size": 40, "max_size": 70, "size_divisor": 0}
    change(folder, "preprocessor_config.json", **keys)
    resize = read_config(folder, print).eval.resize
    assert (resize.rule, resize.size, resize.multiple) == ("shortest_edge", (40, 70), 1)


def test_code_of_the_repository_is_not_run_and_said(folder):
    change(folder, auto_map={"AutoModel": "evil.Model"})
    lines = []
    read_config(folder, lines.append)
    assert "auto_map" in lines[0]
    assert "not run" in lines[0]


def test_shards_are_joined_and_a_missing_one_is_named(folder):
    tensors = drawn_tensors(NAME)
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    index = {name: file for file, part in parts.items() for name in part}
    for file, part in parts.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert read_model(folder).variables["params"]
    (folder / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"1 files are missing: b.safetensors"):
        read_model(folder)
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"x": "../x.safetensors"}}'
    )
    with pytest.raises(UserError, match="not a file of weights beside it"):
        read_model(folder)


def test_a_folder_without_weights_is_one_line(folder, capsys):
    (folder / "model.safetensors").unlink()
    argv = ["predict", str(folder / "image.png"), f"--model={folder}", f"--out={folder}/out"]
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has no weights; valid: model.safetensors, pytorch_model.bin" in line


@pytest.mark.parametrize("file", ["model.safetensors", "weights.safetensors", "pytorch_model.bin"])
def test_a_folder_without_a_config_is_one_line(folder, capsys, file):
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / file)
    argv = ["predict", str(folder / "image.png"), f"--model={folder}", f"--out={folder}/out"]
    assert cli.main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder}: has weights ({file}) but no config.json" in line
    assert f"to train from the weights: --config.model.init_from={folder}" in line


def test_command_line_predicts_and_refuses_what_does_not_compose(folder, tmp_path, capsys):
    image, out = folder / "image.png", tmp_path / "out"
    common = ["predict", str(image), f"--model={folder}", f"--out={out}", "--outputs=mask"]
    assert cli.main(common) == 0
    assert size_of(out / "image_mask.png") == size_of(image)
    capsys.readouterr()
    for option, words in (
        ("--scales=1,2", "--scales: has no effect on a model that resizes images"),
        ("--tile=64x64", "--resize=native predicts tiles at the scale of the image"),
        ("--resize=huge", "--resize: 'huge' is not original, native"),
        (f"--workdir={folder}", "--workdir: is --model now"),
        ("--step=5", "has no steps; valid: best"),
    ):
        assert cli.main([*common, option]) == 2
        assert words in capsys.readouterr().err
    assert cli.main([*common, "--resize=native", "--tile=64x64"]) == 0
    assert cli.main([*common, "--tta=hflip"]) == 0


def test_resize_decides_the_size_that_the_model_sees(folder):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 76, 3), np.uint8)
    published, native = load(folder), load(folder, resize="native")
    # An image of the published size is not changed by resizing.
    np.testing.assert_array_equal(published(image).mask, native(image).mask)
    twice = np.asarray(Image.fromarray(image).resize((152, 120), Image.Resampling.BICUBIC))
    assert (published(twice).mask != native(twice).mask).any()
    same = load(folder, resize="60x76")(twice)
    np.testing.assert_allclose(same.probabilities, published(twice).probabilities, atol=1e-5)
