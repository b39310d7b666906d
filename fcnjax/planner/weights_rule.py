"""The planner's choice of pretrained weights."""

from collections.abc import Iterator

import jax
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.models.pretrained.sources import fetch_weights
from fcnjax.planner.budget import Budget
from fcnjax.planner.choice import Choice
from fcnjax.planner.fingerprint import Fingerprint
from fcnjax.runtime.packages import to_stderr

# A key that is given leaves the model to the user.
MODEL_KEYS = frozenset(
    f"model.{key}"
    for key in ("encoder", "decoder", "widths", "decoder_widths", "upsample", "init_from")
)
PRETRAINED = {
    "model.encoder": "mobilenet_v2",
    "model.decoder": "unet_smp",
    "model.widths": None,
    "model.decoder_widths": (64, 48, 32, 24, 16),
    "model.upsample": None,
    "model.init_from": "package://mobilenet_v2",
}
# Of a training on a CPU: in a shorter one, a small U-Net with random weights does three times as
# many steps and gets as far on real images (he_nuclei), and further on made ones (discs).
MIN_SECONDS = 900
MIN_THICKNESS = 4.0  # pixels: its first features have stride 2, and thin lines are lost


def choose_weights(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose a small encoder with weights of ImageNet, if they can be had and suit the images."""
    thickness = float(dataset.thickness.min())
    is_usable = config.data.pixel_type == "uint8" and config.data.channels == "RGB"
    is_slow = jax.default_backend() == "cpu" and budget.seconds < MIN_SECONDS
    is_worthwhile = not is_slow and thickness >= MIN_THICKNESS
    # The weights set the normalisation, too.
    is_open = budget.open >= MODEL_KEYS | {"data.mean", "data.std"}
    if not (is_open and is_usable and is_worthwhile):
        return
    try:
        fetch_weights(PRETRAINED["model.init_from"])
    except UserError as error:
        to_stderr(f"note: training begins with random weights: {error}")
        return
    reason = f"8-bit photographs with regions at least {thickness:.3g} pixels wide"
    yield Choice(PRETRAINED, reason)
