"""Conversion of the tensors of torch models; test_parity.py compares outputs."""

import functools
import json
import tracemalloc
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from test_every_pair import FAMILIES, slow_unless

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import ENCODERS, build_model
from fcnjax.models.classifier import build_classifier
from fcnjax.models.layers import FeatureMap
from fcnjax.models.pretrained import convert
from fcnjax.models.pretrained.layouts.table import DECODER_LAYOUTS, STYLES, encoder_layouts
from fcnjax.models.pretrained.names import (
    _prefixes,
    encoder_names,
    rest_names,
    tensor_names,
    torch_shape,
)

GOLDENS = Path(__file__).parent.parent / "goldens"


def tensors_of(file, prefix="", part=""):
    """Return tensors of the shapes in a manifest, each filled with another number."""
    rows = [line.split("\t") for line in (GOLDENS / file).read_text().splitlines()]
    shapes = {name: tuple(json.loads(f"[{shape.strip('(,)')}]")) for name, shape, _ in rows}
    return {
        prefix + name: np.broadcast_to(np.float32(i), shape)
        for i, (name, shape) in enumerate(shapes.items())
        if name.startswith(part) and not name.startswith(("fc", "classifier"))
    }


@functools.cache
def encoder_of(name, channels=3, **options):
    """Return the module and the shapes of its variables."""
    module = ENCODERS[name].make(**options)
    image = FeatureMap(jnp.zeros((1, 32, 32, channels)))
    return module, jax.eval_shape(lambda: module.init(jax.random.key(0), image, False))


def convert_to_numpy(*args, **options):
    filled, report = convert(*args, **options)
    return jax.device_get(filled), report


def first_values(filled):
    """The first number of each array, in order."""
    return sorted(float(leaf.flat[0]) for leaf in jax.tree.leaves(filled))


def filled_encoder(tensors, name, channels=3, source="the weights", **options):
    module, variables = encoder_of(name, channels, **options)
    return convert_to_numpy(tensors, variables, module, (name, None), source=source)


@functools.cache
def model_of(encoder, decoder, classes=2, **options):
    """Return the model and the shapes of its variables."""
    config = default_config()
    config.model.update({"encoder": encoder, "decoder": decoder, **options})
    config.data.class_names = tuple(map(str, range(classes)))
    model = build_model(config)
    image = jnp.zeros((1, 32, 32, 3))
    return model, jax.eval_shape(lambda: model.init(jax.random.key(0), image))


def torch_tensors(variables, *layouts):
    """Return the tensors that torch has for these variables, each filled with another number."""
    names = {}
    for layout in layouts:
        names |= tensor_names(variables, layout)
    flat = flatten_dict(variables)
    return {
        name: np.broadcast_to(np.float32(i), torch_shape(path, flat[path].shape))
        for i, (path, name) in enumerate(names.items())
    }


@pytest.mark.parametrize(
    "prefix", ["", "backbone.", "encoder.", "encoder.model.", "model.encoder."]
)
@pytest.mark.parametrize(
    ("encoder", "file", "norm"),
    [
        ("resnet18", "tv_resnet18.txt", "batch"),
        ("resnet34", "tv_resnet34.txt", "batch"),
        ("resnet50", "timm_fo_resnet50.txt", "batch"),
        ("vgg16", "tv_vgg16_bn.txt", "batch"),
        ("vgg16", "timm_fo_vgg16.txt", "none"),
    ],
)
def test_every_tensor_fills_its_variable(encoder, file, norm, prefix):
    module, variables = encoder_of(encoder, norm=norm)
    tensors = tensors_of(file, prefix)
    other = {"decoder.conv1.weight": np.zeros((4, 3, 3, 3), np.float32)}
    filled, report = convert_to_numpy(tensors | other, variables, module, (encoder, None))
    assert set(report.used) == {n for n in tensors if not n.endswith("num_batches_tracked")}
    counters = {n for n in tensors if n.endswith("num_batches_tracked")}
    assert set(report.unused) == counters | other.keys()
    assert report.missing == report.adapted == ()
    assert jax.tree.map(jnp.shape, filled) == jax.tree.map(jnp.shape, variables)
    # Each tensor fills one variable.
    assert first_values(filled) == sorted(float(tensors[name].flat[0]) for name in report.used)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "net.",
        "network.",
        "encoder_q.",
        "module.student.backbone.",
        "a.b.c.",
    ],
)
def test_any_prefix_is_found_and_reported(prefix):
    tensors = tensors_of("tv_resnet18.txt", prefix)
    # Other tensors in the file: a projection, its queue, and part of another model.
    other = {
        f"{prefix}projector.0.weight": np.zeros((4, 4), np.float32),
        "queue": np.zeros((4, 9), np.float32),
        "head.conv1.weight": np.zeros((64, 3, 7, 7), np.float32),
        "head.bn1.weight": np.zeros(64, np.float32),
    }
    filled, report = filled_encoder(tensors | other, "resnet18")
    bare, _ = filled_encoder(tensors_of("tv_resnet18.txt"), "resnet18")
    jax.tree.map(np.testing.assert_array_equal, filled, bare)
    assert report.prefix_lines == [f"prefix {prefix!r} removed from 100 names"]
    assert not report.missing
    assert not other.keys() & set(report.used)


def test_names_with_hundreds_of_dots_use_little_memory():
    """60,000 of them once took 10 GB, when every suffix of a name was stored."""
    tensors = tensors_of("tv_resnet18.txt", "a.b.")
    others = [f"{'.' * 240}{i}{'.' * 240}" for i in range(2000)]
    expected = {name.removeprefix("a.b.") for name in tensors}
    tracemalloc.start()
    prefixes = _prefixes([*others, *tensors], expected)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert all(found[0] == "a.b." for found in prefixes.values())
    assert prefixes.keys() == expected
    assert peak < 2**20


def test_numbers_beyond_float32_raise():
    tensors = tensors_of("tv_resnet18.txt")
    tensors["bn1.bias"] = np.full(64, 1e300)
    with pytest.raises(
        UserError, match=r"x\.pth: bn1\.bias has numbers beyond the range of float32"
    ):
        filled_encoder(tensors, "resnet18", source="x.pth")


def test_prefix_chooses_between_two_encoders():
    student = tensors_of("tv_resnet18.txt", "student.backbone.")
    teacher = {
        name.replace("student.", "teacher.net."): tensor + 1000 for name, tensor in student.items()
    }
    both, (module, variables) = student | teacher, encoder_of("resnet18")

    def fill(prefix):
        names, options = ("resnet18", None), {"source": "x.pth", "prefix": prefix}
        return convert_to_numpy(both, variables, module, names, **options)

    with pytest.raises(
        UserError,
        match=r"^x\.pth: encoder resnet18: the file has it 2 times, with the prefixes "
        r"'student\.backbone\.', 'teacher\.net\.backbone\.'; "
        r"choose one with config\.model\.init_prefix$",
    ):
        fill(None)
    for prefix, first in (("student.", 0), ("teacher.net.backbone.", 1000), ("teacher", 1000)):
        filled, report = fill(prefix)
        assert float(filled["params"]["conv1"]["conv"]["kernel"][0, 0, 0, 0]) == first
        assert len(report.used) == 100
        assert len(report.prefixes) == 1
    with pytest.raises(UserError, match=r"init_prefix: 'net\.' is not a prefix in x\.pth: encoder"):
        fill("net.")


def under(prefix, names):
    """Return tensor names with a prefix."""
    return lambda path: (name := names(path)) and prefix + name


def test_model_under_a_prefix():
    names = ("resnet18", "unet_smp")
    model, variables = model_of(*names)
    encoder = encoder_names(
        model.encoder, "resnet18", "timm", prefix="net.encoder.", root=("encoder",)
    )
    tensors = torch_tensors(variables, encoder, under("net.", rest_names(model, names)["smp"]))
    _, report = convert(tensors, variables, model, names)
    assert not report.missing
    assert not report.unused
    rest = len(tensors) - 100
    assert report.prefixes == {"net.encoder.": 100, "net.": rest}


def test_part_of_an_encoder_raises():
    tensors = tensors_of("tv_resnet18.txt")
    some = {name: tensors[name] for name in list(tensors)[:20]}
    words = r"x\.pth: encoder resnet18: the file has only \d+ of its 100 tensors"
    with pytest.raises(UserError, match=words):
        filled_encoder(some, "resnet18", source="x.pth")
    # Under another prefix, a few equal names are a coincidence.
    prefixed = {f"decoder.{name}": tensor for name, tensor in some.items()}
    with pytest.raises(UserError, match=r"none of its tensors belongs to encoder resnet18"):
        filled_encoder(prefixed, "resnet18", source="x.pth")


def test_layout_and_statistics():
    tensors = tensors_of("tv_resnet18.txt")
    kernel = np.random.default_rng(0).standard_normal((64, 3, 7, 7)).astype(np.float32)
    tensors["conv1.weight"] = kernel
    filled, report = filled_encoder(tensors, "resnet18")
    assert str(report) == (
        "100 tensors used; 0 not used; 20 batch counters ignored; 0 variables not filled"
    )
    ours = filled["params"]["conv1"]["conv"]["kernel"]
    assert float(ours[2, 5, 1, 40]) == kernel[40, 1, 2, 5]
    norm = filled["batch_stats"]["layer2_0"]["downsample"]["norm"]
    assert float(norm["mean"][0]) == tensors["layer2.0.downsample.1.running_mean"][0]
    assert float(norm["var"][0]) == tensors["layer2.0.downsample.1.running_var"][0]


@pytest.mark.parametrize("channels", [1, 2, 5, 12])
def test_first_convolution_is_adapted_to_other_channels(channels):
    method = "summed" if channels == 1 else "repeated"
    tensors = tensors_of("tv_resnet18.txt")
    kernel = np.random.default_rng(0).standard_normal((64, 3, 7, 7)).astype(np.float32)
    tensors["conv1.weight"] = kernel
    filled, report = filled_encoder(tensors, "resnet18", channels)
    assert report.adapted == (f"conv1.weight: 3 channels {method} to {channels}",)
    ours = np.asarray(filled["params"]["conv1"]["conv"]["kernel"])
    expected = np.concatenate([kernel] * 4, 1)[:, :channels] * (3 / channels)
    if channels == 1:
        expected = kernel.sum(1, keepdims=True)
    np.testing.assert_allclose(ours, expected.transpose(2, 3, 1, 0), rtol=1e-5, atol=1e-6)


def test_batch_norm_does_not_fill_group_norm():
    _, report = filled_encoder(tensors_of("tv_resnet18.txt"), "resnet18", norm="group")
    assert "conv1.weight" in report.used
    assert {"bn1.weight", "bn1.running_mean"} < set(report.unused)
    assert "params/conv1/norm/scale" in report.missing
    assert "variables not filled (params/" in str(report)


def test_weights_of_another_encoder_raise():
    words = r"x\.pth: layer\d\.\d\.\S+ becomes .* and encoder resnet34 takes .* at \w+/"
    with pytest.raises(UserError, match=words):
        filled_encoder(tensors_of("tv_resnet50.txt"), "resnet34", source="x.pth")
    tensors = tensors_of("timm_fo_vgg16.txt")
    with pytest.raises(UserError, match=r"x\.pth: none of its tensors belongs to encoder resnet34"):
        filled_encoder(tensors, "resnet34", source="x.pth")


def test_encoder_without_published_weights_raises():
    with pytest.raises(UserError, match=r"nobody publishes weights of encoder vanilla"):
        filled_encoder({"a": np.zeros(1)}, "vanilla")


def test_classifier_file_fills_encoder_of_any_model():
    model, variables = model_of("resnet18", "fcn32s")
    tensors = tensors_of("tv_resnet18.txt")
    filled, report = convert_to_numpy(tensors, variables, model, ("resnet18", "fcn32s"))
    assert len(report.used) == 100
    assert float(filled["params"]["encoder"]["conv1"]["norm"]["scale"][0]) == 1
    assert report.missing
    assert not any("/encoder/" in name for name in report.missing)
    assert filled["params"]["decoder"] == variables["params"]["decoder"]


PUBLISHED = [
    ("resnet18", "unet_smp", "smp"),
    ("resnet18", "unetplusplus", "smp"),
    ("resnet18", "linknet", "smp"),
    ("resnet18", "fpn", "smp"),
    ("resnet18", "pspnet", "smp"),
    ("resnet18", "deeplabv3", "smp"),
    ("resnet18", "deeplabv3plus", "smp"),
    ("resnet18", "deeplabv3", "torchvision"),
    ("resnet18", "fcn_head", "torchvision"),
    ("resnet18", "lraspp", "torchvision"),
    ("resnet18", "upernet", "smp"),
    ("mit_b0", "segformer", "smp"),
]


def test_every_published_decoder_is_tested():
    # FCNs have no published head: see the test of VGG's classifier.
    decoders = set(DECODER_LAYOUTS) - {"fcn32s", "fcn16s", "fcn8s"}
    layouts = {(name, library) for name in decoders for library in DECODER_LAYOUTS[name]}
    assert {row[1:] for row in PUBLISHED} == layouts


@pytest.mark.parametrize("wrapped", ["", "model."])
@pytest.mark.parametrize(("encoder", "decoder", "library"), PUBLISHED)
def test_file_of_segmentation_model_fills_all_variables(encoder, decoder, library, wrapped):
    aux = {"aux_head": True} if library == "torchvision" else {}
    model, variables = model_of(encoder, decoder, **aux)
    prefix = {"smp": "encoder.", "torchvision": "backbone."}[library]
    layout = next(iter(encoder_layouts(encoder)))
    tensors = torch_tensors(
        variables,
        encoder_names(model.encoder, encoder, layout, "classifier", wrapped + prefix, ("encoder",)),
        under(wrapped, rest_names(model, (encoder, decoder))[library]),
    )
    filled, report = convert_to_numpy(tensors, variables, model, (encoder, decoder))
    assert not report.unused
    assert not report.missing
    assert not report.adapted
    assert first_values(filled) == list(range(len(tensors)))


def test_head_of_other_classes_is_kept_and_reported():
    names = ("resnet18", "unet_smp")
    model, variables = model_of(*names, classes=2)
    other, other_variables = model_of(*names, classes=5)
    tensors = torch_tensors(
        other_variables,
        encoder_names(other.encoder, "resnet18", "timm", prefix="encoder.", root=("encoder",)),
        rest_names(other, names)["smp"],
    )
    filled, report = convert(tensors, variables, model, names)
    assert report.adapted == (
        "segmentation_head.0.bias: has 5 classes, and this model 2: left as initialised",
        "segmentation_head.0.weight: has 5 classes, and this model 2: left as initialised",
    )
    assert set(report.unused) == {"segmentation_head.0.weight", "segmentation_head.0.bias"}
    assert set(report.missing) == {"params/head/kernel", "params/head/bias"}
    assert filled["params"]["head"] == variables["params"]["head"]


def test_decoder_of_other_widths_raises():
    names = ("resnet18", "unet_smp")
    model, variables = model_of(*names, decoder_widths=(8, 8, 8, 8, 8))
    other, other_variables = model_of(*names)
    tensors = torch_tensors(other_variables, rest_names(other, names)["smp"])
    with pytest.raises(UserError, match=r"decoder\.blocks\.0\.conv1\.\S+ becomes .* and encoder "):
        convert(tensors, variables, model, names)


@pytest.mark.parametrize("name", slow_unless(FAMILIES, filter(encoder_layouts, ENCODERS)))
def test_every_variable_has_one_name_in_every_layout(name):
    """Those of the classifier too, in each published layout."""
    model = build_classifier(name)
    image = jnp.zeros((1, 32, 32, 3))
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    flat = flatten_dict(variables)
    for form in encoder_layouts(name):
        normed = not name.startswith("vgg") or form.endswith("_bn")
        for style in STYLES:
            encoder = encoder_names(model.encoder, name, form, style, root=("encoder",))
            names = tensor_names(variables, encoder)
            names |= tensor_names(variables, rest_names(model, (name, None))[form])
            assert len(set(names.values())) == len(names)
            nameless = [path for path in flat if path not in names]
            assert normed == (not nameless)
            assert all(path[-2] == "norm" for path in nameless)


@pytest.mark.parametrize("decoder", ["fcn32s", "fcn16s", "fcn8s"])
def test_vgg_classifier_fills_fully_connected_layers_of_fcn(decoder):
    model, variables = model_of("vgg16", decoder, norm="none")
    classifier = build_classifier("vgg16", norm="none")
    image = jnp.zeros((1, 32, 32, 3))
    other = jax.eval_shape(lambda: classifier.init(jax.random.key(0), image))
    tensors = torch_tensors(
        other,
        encoder_names(classifier.encoder, "vgg16", "torchvision", root=("encoder",)),
        rest_names(classifier, ("vgg16", None))["torchvision"],
    )
    _, report = convert(tensors, variables, model, ("vgg16", decoder))
    assert set(report.unused) == {"classifier.6.weight", "classifier.6.bias"}
    assert {name.split("/")[2].rstrip("0123456789") for name in report.missing} == {"score"}


def test_linear_layer_of_vgg_becomes_convolution_over_grid():
    model = build_classifier("vgg11", norm="none")
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    weight = np.zeros((4096, 512 * 7 * 7), np.float32)
    weight[5, 300 * 49 + 2 * 7 + 6] = 3
    filled, report = convert({"classifier.0.weight": weight}, variables, model, ("vgg11", None))
    assert report.used == ("classifier.0.weight",)
    kernel = np.asarray(filled["params"]["hidden0"]["kernel"])
    assert kernel.shape == (7, 7, 512, 4096)
    assert kernel[2, 6, 300, 5] == 3
    assert kernel.sum() == 3
