"""The models on a GPU: fast implementations, layouts, folded batch norm and bfloat16."""

import jax
import numpy as np
import pytest
import test_models
from jax import lax
from test_fast_implementations import (  # noqa: F401 (collected here, for a GPU)
    assert_close,
    random,
    test_batch_norm_and_activation,
    test_batch_norm_is_folded_into_the_convolution,
    test_dilated_convolution,
    test_max_pool_blocks,
    test_space_to_batch_round_trip,
    test_training_dilated_stages_with_space_to_batch,
    test_transposed_convolution,
)
from test_step import (  # noqa: F401 (collected here, for a GPU)
    config,
    test_step_with_automatic_layout_equals_the_default_step,
)

from fcnjax.models.layers.convolution.implementations import plain_conv

pytestmark = pytest.mark.gpu
PAIRS = (
    "vanilla-unet-transposed-add",
    "resnet_basic-deeplabv3plus",
    "resnet_dilated-fcn_head",
    "mit-segformer",
)


@pytest.mark.parametrize("channels", [(3, 5), (16, 32)])
def test_convolution_and_its_gradients_equal_those_in_nchw(channels):
    padding = ((1, 1), (1, 1))
    data, kernel = random(2, 9, 12, channels[0]), random(3, 3, *channels, seed=1)

    def nchw_conv(data, kernel):
        result = lax.conv_general_dilated(
            data.transpose(0, 3, 1, 2),
            kernel.transpose(3, 2, 0, 1),
            (1, 1),
            padding,
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
        )
        return result.transpose(0, 2, 3, 1)

    @jax.jit
    def run(data, kernel, cotangent):
        results = []
        for conv in (lambda *args: plain_conv(*args, 1, padding), nchw_conv):
            result, vjp = jax.vjp(conv, data, kernel)
            results.append((result, vjp(cotangent)))
        return results

    assert_close(*run(data, kernel, random(2, 9, 12, channels[1], seed=2)))


@pytest.mark.parametrize("pair", PAIRS)
def test_folded_weights_give_same_logits(pair):
    test_models.test_folded_weights_give_same_logits(pair)


@pytest.mark.parametrize("pair", PAIRS)
def test_bfloat16_is_close(pair):
    test_models.test_bfloat16_is_close(pair)


def test_masks_on_the_device_equal_those_of_the_cpu():
    """Two classes whose logits differ by less than a rounding error may be swapped."""
    if jax.default_backend() == "cpu":
        pytest.skip("compares a GPU with the CPU")
    model = test_models.make("resnet_dilated-fcn_head")
    variables = jax.device_get(test_models.variables_of(model))
    image, masks = test_models.images(), []
    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        args = jax.device_put((variables, image), device)
        masks.append(np.asarray(jax.jit(model.apply)(*args)["logits"].argmax(-1)))
    assert (masks[0] == masks[1]).mean() > 0.999
