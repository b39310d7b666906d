"""Published weights: files of torch and safetensors, read without torch, into a model."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.models.pretrained.convert import Report, convert
from fcnjax.models.pretrained.reader import read_weights

__all__ = ["Report", "convert", "load_pretrained", "read_weights"]


def load_pretrained(
    variables: Mapping[str, Any], source: str, config: ConfigDict
) -> tuple[dict[str, Any], Report]:
    """Fills the encoder of a model from a file of weights.

    Args:
        variables: Of the model that `build_model(config)` gives.
        source: The path of a `.pth`, `.pt`, `.ckpt` or `.safetensors` file.
        config: Names the encoder.

    Returns:
        The variables with the encoder's replaced, and what was used, changed and left.

    Raises:
        UserError: A source of an unknown kind, a file that cannot be read as weights or is
            hostile, or weights of another encoder.
    """
    scheme, separator, _ = source.partition("://")
    if separator:
        raise UserError(
            f"config.model.init_from: unknown source {scheme}://; valid: the path of a .pth, .pt, "
            ".ckpt or .safetensors file"
        )
    tensors = read_weights(source)
    return convert(tensors, variables, config.model.encoder, root=("encoder",), source=source)
