"""Frozen parts of a model, and learning rates of parts."""

import jax
import numpy as np
import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.models import build_model
from fcnjax.optim import check_parts, make_optimizer, rate_factors
from fcnjax.optim.parts import paths_of
from fcnjax.training.state import param_shapes


def config_with(**changes):
    config = default_config()
    config.data.class_names = ("a", "b")
    config.augment.crop = (32, 32)
    for key, value in changes.items():
        config["model" if key in config.model else "optim"][key] = value
    return config


def shapes_of(config):
    return param_shapes(build_model(config), config)


def describe(config):
    return check_parts(config, lambda: shapes_of(config))


SMALL = {"widths": (4, 8)}


def test_shapes_are_not_computed_without_parts():
    assert check_parts(config_with(), lambda: pytest.fail("requested")) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"freeze": ("encodr",)}, "config.optim.freeze: 'encodr' is not a part; valid: decoder, "),
        ({"freeze": ("enc",)}, "is not a part.*encoder, head"),
        (
            {"freeze": ("encoder/stage1",)},
            "is not a part; valid: encoder, encoder/stage1_conv1, encoder/stage1_conv2",
        ),
        (
            {"multipliers": (("top", 2.0),)},
            "config.optim.multipliers: 'top' is not a part; valid: ",
        ),
        ({"freeze": (".*",)}, "leaves nothing to train"),
    ],
)
def test_invalid_part_is_an_error_with_the_valid_ones(changes, words):
    with pytest.raises(UserError, match=words) as error:
        describe(config_with(**SMALL, **changes))
    assert "\n" not in str(error.value)


def test_frozen_and_multiplied_parts_are_described():
    config = config_with(
        **SMALL,
        freeze=("encoder/stage1.*",),
        freeze_norm=True,
        multipliers=(("encoder", 0.1), ("head", 10)),
        layer_decay=0.5,
    )
    norms, frozen, rates, decay = describe(config)
    assert norms == "all batch norms in inference mode"
    assert frozen.startswith("frozen: encoder/stage1.* (0.00 M")
    assert rates == "rates: encoder x 0.1, head x 10"
    assert decay == "rates of the encoder x 0.0625 (first) to 0.5 (last)"


def test_last_matching_multiplier_scales_the_entire_update():
    ones = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}
    params = {"encoder": ones, "head": ones}
    grads = jax.tree.map(lambda leaf: 0.3 * leaf, params)

    def updates(**optim):
        optimizer = make_optimizer(config_with(schedule="constant", weight_decay=0.1, **optim))
        update = jax.jit(lambda g, p: optimizer.update(g, optimizer.init(p), p)[0])
        return jax.device_get(update(grads, params))

    pairs = ((".*", 3.0), ("encoder", 0.1), (".*/bias", 2.0))
    plain, scaled = updates(), updates(multipliers=pairs)
    factors = {
        "encoder": {"kernel": 0.1, "bias": 2.0},
        "head": {"kernel": 3.0, "bias": 2.0},
    }
    expected = jax.tree.map(lambda update, factor: factor * update, plain, factors)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), scaled, expected)


def test_frozen_parts_have_no_state_and_are_not_in_the_clipped_norm():
    ones = np.ones((2, 2), np.float32)
    params = {"encoder": {"kernel": ones}, "head": {"kernel": ones}}
    grads = {"encoder": {"kernel": 0 * ones}, "head": {"kernel": 3 * ones}}
    options = {"name": "sgd", "lr": 1.0, "schedule": "constant", "weight_decay": 0.5}
    optimizer = make_optimizer(config_with(freeze=("encoder",), clip_norm=1.0, **options))
    state = jax.jit(optimizer.init)(params)
    arrays = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
    assert [leaf.shape for leaf in arrays] == [(2, 2)]
    updates, _ = jax.device_get(jax.jit(optimizer.update)(grads, state, params))
    assert not updates["encoder"]["kernel"].any()
    np.testing.assert_allclose(updates["head"]["kernel"], -(0.5 + 0.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("encoder", "powers"),
    [
        ("resnet18", {"conv1/norm/scale": 9, "layer1_0/conv1": 8, "layer1_1": 7, "layer4_1": 1}),
        (
            "convnext_tiny",
            {"stem/": 19, "stem_norm": 19, "stage1_block0": 18, "down2": 15, "down2_norm": 15}
            | {"stage2_block0": 15, "stage3_block0": 12, "stage4_block2": 1},
        ),
        (
            "mit_b0",
            {"embed1/": 9, "stage1_block0": 8, "stage1_norm": 7, "embed2": 6, "stage4_norm": 1},
        ),
        ("efficientnet_b0", {"stem": 17, "block0": 16, "block15": 1}),
        pytest.param(
            "densenet121",
            {"conv0": 59, "block1_layer1/": 58, "transition1_conv": 53, "norm5": 1},
            marks=pytest.mark.slow,
        ),
        ("vgg11", {"stage1_conv1": 8, "stage5_conv2": 1}),
    ],
)
def test_learning_rates_decay_towards_the_first_layers(encoder, powers):
    config = config_with(encoder=encoder, decoder="fcn_head", layer_decay=0.5)
    factors = rate_factors(config, paths_of(shapes_of(config)))
    for name, power in powers.items():
        own = {f for path, f in factors.items() if path.startswith(f"encoder/{name}")}
        assert own == {0.5**power}, name
    assert {f for path, f in factors.items() if not path.startswith("encoder")} == {1.0}


def test_encoder_of_unknown_depth_is_an_error():
    config = config_with(encoder="fcdensenet56", layer_decay=0.9)
    with pytest.raises(UserError, match=r"config.optim.layer_decay: the blocks of.*fcdensenet56"):
        rate_factors(config, ["encoder/block1/layer0/conv/kernel", "encoder/bottleneck/bias"])
