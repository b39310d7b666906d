"""The architecture of a run that starts from an entire trained model (`config.model.init_from`)."""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.config import close, default_config, left_open
from fcnjax.errors import UserError
from fcnjax.inference.identity import find_model
from fcnjax.models.pretrained.model_folder import CONFIG_FILE, is_smp_config
from fcnjax.models.pretrained.sources import Weights, fetch_weights
from fcnjax.models.pretrained.sources.imagenet import NAME, imagenet_source
from fcnjax.models.pretrained.sources.weights import WEIGHT_FILES, read_json_or_none

# Keys of `config.model` that do not belong to the architecture.
_OWN = ("init_from", "init_prefix", "dtype", "remat")


def with_initial_model(config: ConfigDict) -> tuple[ConfigDict, list[str]]:
    """Return a copy of the config with the encoder, the decoder and their options of `init_from`.

    This is done if `init_from` names an entire model and the config leaves encoder and decoder
    open: `config.model.encoder=auto`, or a config such as `folder`. Options that were set stay.

    Returns:
        The config, and a line about it.

    Raises:
        UserError: `init_from` does not exist or cannot be fetched, or its config is not valid.
    """
    source, is_open = config.model.init_from, set(left_open(config))
    if source == NAME:
        return _with_imagenet(config, is_open)
    if source is None or not is_open >= {"model.encoder", "model.decoder"}:
        return config, []
    weights = fetch_weights(source)
    if (folder := _model_folder(weights)) is None:
        return config, []
    trained, defaults = find_model(folder).config.model, default_config().model
    config = config.copy_and_resolve_references()
    # The head of a file of weights has to fit the classes and the losses of this run.
    left_out = _OWN if weights.is_model else (*_OWN, "head")
    for key, value in trained.items():
        is_set = config.model[key] != defaults[key] and f"model.{key}" not in is_open
        if key not in left_out and not is_set:
            config.model[key] = value
    for key in is_open:
        if key.startswith("model."):
            close(config, key)
    note = f"model of {source}: {config.model.decoder} on {config.model.encoder}"
    return config, [note]


def _model_folder(weights: Weights) -> Path | None:
    """Return the folder with the config of the model that weights are of; None if it has none."""
    if weights.is_model:
        return weights.path
    folder = weights.path.parent
    is_smp = is_smp_config(read_json_or_none(folder / CONFIG_FILE))
    return folder if is_smp and weights.path.name in WEIGHT_FILES else None


def _with_imagenet(config: ConfigDict, is_open: set[str]) -> tuple[ConfigDict, list[str]]:
    """Return a copy of the config that names the ImageNet file of its encoder."""
    if "model.encoder" in is_open:
        raise UserError(
            f"config.model.init_from: {NAME} needs an encoder, such as "
            "--config.model.encoder=resnet34"
        )
    model = config.model
    source, licence = imagenet_source(model.encoder, model.encoder_norm or model.norm)
    config = config.copy_and_resolve_references()
    config.model.init_from = source
    return config, [f"config.model.init_from is {source} (licence: {licence})"]
