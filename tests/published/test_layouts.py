"""Models in the layouts of segmentation_models.pytorch (smp) and torchvision.

The values are those of `python benchmarks/reference_outputs.py NAME --size=64x96 --values=8`, with
smp 0.6.0 and torchvision 0.29.1.
"""

import json

import jax
import numpy as np
import pytest
from drawn_models import draw_tensor, read_config, read_model
from flax.traverse_util import flatten_dict
from PIL import Image
from safetensors.numpy import save_file

from fcnjax import cli, load
from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.models import build_model
from fcnjax.models.pretrained.names import torch_shape
from fcnjax.models.pretrained.sources import Weights
from fcnjax.published import find_published, kinds
from fcnjax.published.torchvision import SEGMENTERS, describe_torchvision
from fcnjax.training.initial_model import with_initial_model
from fcnjax.training.initialize import initial_variables
from fcnjax.training.state import init_variables

VOC = "torchvision://{}/COCO_WITH_VOC_LABELS_V1"
LRASPP = "lraspp_mobilenet_v3_large"
UNET = {
    "_model_class": "Unet",
    "activation": "sigmoid",
    "aux_params": None,
    "classes": 1,
    "decoder_attention_type": "scse",
    "decoder_channels": [32, 32, 16, 16, 16],
    "decoder_interpolation": "bilinear",
    "decoder_use_norm": "batchnorm",
    "encoder_depth": 5,
    "encoder_name": "resnet18",
    "encoder_weights": None,
    "in_channels": 3,
}
FPN = {
    "_model_class": "FPN",
    "activation": None,
    "aux_params": None,
    "classes": 3,
    "decoder_dropout": 0.2,
    "decoder_interpolation": "nearest",
    "decoder_merge_policy": "cat",
    "decoder_pyramid_channels": 48,
    "decoder_segmentation_channels": 32,
    "encoder_depth": 5,
    "encoder_name": "tu-resnet18",
    "encoder_weights": None,
    "in_channels": 3,
    "upsampling": 4,
}
# The standard deviation of the output, and some of its values by their flat index.
OUTPUTS = {
    "unet": (
        0.0455428958,
        [5835, 2903, 214, 5828, 5055, 885, 4635, 3141],
        [
            *(0.600685239, 0.711419523, 0.676333964, 0.588221312),
            *(0.657011747, 0.726385772, 0.71540606, 0.763183355),
        ],
    ),
    "fpn": (
        0.70163166523,
        [17515, 8718, 642, 17485, 15167, 2656, 13915, 9430],
        [
            *(1.30900645, -1.0025816, 0.629066288, 1.29478192),
            *(0.142058507, 1.06277227, 0.290039986, 0.856473327),
        ],
    ),
    "lraspp": (
        0.48388639092,
        [122628, 61049, 4496, 122398, 106178, 18599, 97430, 66034],
        [
            *(0.258498013, -0.780723333, 0.553902447, 0.0416583419),
            *(-0.25006032, 0.403646141, 0.330348402, -0.638867021),
        ],
    ),
}
ALBUMENTATIONS = {
    "transform": {
        "transforms": [
            {"__class_fullname__": "Resize", "height": 512, "width": 512},
            {"__class_fullname__": "Normalize", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
        ]
    }
}


def drawn_tensors(description):
    """Draw the tensors of a model by their names."""
    model = build_model(description.config)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), np.zeros((1, 64, 64, 3))))
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    tensors = {}
    for keys, leaf in leaves:
        path = tuple(key.key for key in keys)
        (name,) = description.tensor_names(model, path)
        tensors[name] = draw_tensor(name, torch_shape(path, leaf.shape))
    return tensors


def write_smp(folder, content, weights=True):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(content))
    file = folder / "model.safetensors"
    file.touch()
    if weights:
        save_file(drawn_tensors(find_published(folder).describe(print)), file)
    return folder


@pytest.fixture
def torchvision_file(tmp_path, monkeypatch):
    """A file of drawn weights in place of torchvision's."""
    path = tmp_path / "lraspp.safetensors"
    fetched = []

    def fetch(source, log):
        fetched.append(source)
        return Weights(source, path)

    monkeypatch.setattr(kinds, "fetch_torchvision", fetch)
    save_file(drawn_tensors(find_published(VOC.format(LRASPP)).describe(print)), path)
    assert fetched == [VOC.format(LRASPP)]
    return path


def check_outputs(name, source, activation=lambda logits: logits):
    _, model, variables = read_model(source)
    image = np.random.default_rng(0).standard_normal((1, 3, 64, 96)).astype(np.float32)
    with jax.default_matmul_precision("highest"):
        logits = jax.jit(model.apply)(variables, image.transpose(0, 2, 3, 1))["logits"]
    std, index, values = OUTPUTS[name]
    ours = np.ravel(activation(logits).transpose(0, 3, 1, 2))[index]
    np.testing.assert_allclose(ours, values, rtol=0, atol=1e-4 * std)


def test_binary_unet_of_smp_equals_torch(tmp_path):
    folder = write_smp(tmp_path / "unet", UNET)
    check_outputs("unet", folder, jax.nn.sigmoid)
    config = read_config(folder, print)
    assert config.data.class_names == ("class_0", "class_1")
    assert config.model.head == "sigmoid"


def test_fpn_of_smp_over_an_encoder_of_timm_equals_torch(tmp_path):
    folder = write_smp(tmp_path / "fpn", FPN)
    check_outputs("fpn", folder)
    image, out = tmp_path / "image.png", tmp_path / "out"
    Image.fromarray(np.full((40, 33, 3), 99, np.uint8)).save(image)
    argv = ["predict", str(image), f"--model={folder}", f"--out={out}", "--outputs=mask"]
    assert cli.main(argv) == 0
    assert (out / "image_mask.png").is_file()


def test_segmenter_of_torchvision_equals_torch(torchvision_file):
    source = VOC.format(LRASPP)
    check_outputs("lraspp", source)
    config = read_config(source, print)
    assert config.data.class_names[15] == "person"
    assert config.data.palette[15] == (192, 128, 128)
    assert (config.eval.resize.rule, config.eval.resize.size) == ("shortest_edge", (520,))
    image = np.random.default_rng(0).integers(0, 256, (33, 40, 3), np.uint8)
    assert load(source, resize="native")(image).mask.shape == (33, 40)


@pytest.mark.parametrize(
    ("content", "random"), [(UNET, {"params/head/kernel", "params/head/bias"}), (FPN, set())]
)
def test_training_takes_encoder_decoder_and_weights_of_smp(tmp_path, content, random):
    folder = write_smp(tmp_path / "model", content)
    names = ",".join(f"c{i}" for i in range(max(content["classes"], 2)))
    options = [f"--config.data.class_names={names}", "--config.model.dropout=0.3"]
    config = load_config(f"folder:root={tmp_path},model={folder},minutes=0", options)
    config, (note,) = with_initial_model(config)
    assert f"{config.model.decoder} on resnet18" in note
    assert config.model.dropout == 0.3
    # One output for two classes has no use for a softmax.
    assert config.model.head == "softmax"
    module = build_model(config)
    drawn = jax.device_get(jax.jit(lambda: init_variables(module, config))())
    found = flatten_dict(initial_variables(config, drawn, print), sep="/")
    expected = flatten_dict(read_model(folder).variables, sep="/")
    assert found.keys() == expected.keys()
    for name in found.keys() - random:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_encoder_that_is_set_is_kept(tmp_path):
    folder = write_smp(tmp_path / "model", FPN, weights=False)
    options = [f"--config.model.init_from={folder}", "--config.model.encoder=resnet18"]
    config = load_config("folder", options)
    assert with_initial_model(config) == (config, [])


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_variable_of_a_segmenter_of_torchvision_has_a_name(name, monkeypatch):
    monkeypatch.setattr(kinds, "fetch_torchvision", lambda source, log: Weights(source, source))
    description = describe_torchvision(name)
    tensors = drawn_tensors(description)
    assert not any(tensor.startswith("aux_classifier.") for tensor in tensors)
    assert {tensor.partition(".")[0] for tensor in tensors} == {"backbone", "classifier"}


def test_a_classifier_of_torchvision_is_refused():
    with pytest.raises(UserError, match=r"segmentation model: unknown 'resnet50'.*fcn_resnet50"):
        find_published("torchvision://resnet50/DEFAULT")


@pytest.mark.parametrize(
    ("content", "values", "words"),
    [
        (UNET, {"_model_class": "MAnet"}, "_model_class: unknown 'MAnet'.*valid: DeepLabV3"),
        (UNET, {"encoder_name": "xception"}, "unknown 'xception'"),
        (UNET, {"encoder_depth": 4}, "encoder_depth is 4; supported: 5"),
        (UNET, {"decoder_use_norm": "layernorm"}, "decoder_use_norm is 'layernorm'; supported"),
        (UNET, {"decoder_use_norm": False}, "decoder_use_norm is False; supported"),
        (UNET, {"decoder_attention_type": "cbam"}, "attention: unknown 'cbam'"),
        (UNET, {"decoder_interpolation": "bicubic"}, "upsample: unknown 'bicubic'"),
        (UNET, {"activation": "tanh"}, "activation for 1 classes is 'tanh'"),
        (UNET, {"classes": 2}, "activation for 2 classes is 'sigmoid'"),
        (UNET, {"encoder_scale": 2}, "option: unknown 'encoder_scale'"),
        (FPN, {"upsampling": 8}, "upsampling is 8; supported: 4"),
        (FPN, {"classes": 0}, "classes or in_channels is not above 0"),
    ],
)
def test_options_that_are_not_supported_are_refused_by_name(tmp_path, content, values, words):
    folder = write_smp(tmp_path / "model", content | values, weights=False)
    with pytest.raises(UserError, match=words):
        read_config(folder, print)


def test_normalisation_is_read_or_assumed_and_said(tmp_path):
    folder, lines = write_smp(tmp_path / "model", FPN, weights=False), []
    assert read_config(folder, lines.append).data.mean == (0.485, 0.456, 0.406)
    assert "ImageNet's normalisation is assumed" in lines[0]
    lines.clear()
    (folder / "albumentations_config_eval.json").write_text(json.dumps(ALBUMENTATIONS))
    data = read_config(folder, lines.append).data
    assert (data.mean, data.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert len(lines) == 1
    assert "transforms that are not applied: Resize" in lines[0]


def test_other_folders_are_not_published_models(tmp_path):
    assert find_published(tmp_path) is None
    (tmp_path / "config.json").write_text('{"format_version": 1}')
    assert find_published(tmp_path) is None
