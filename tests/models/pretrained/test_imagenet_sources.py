"""`init_from=imagenet` names the usual file of an encoder."""

import re

import pytest

from fcnjax.config import load_config
from fcnjax.errors import UserError
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.pretrained.layouts.table import encoder_layouts
from fcnjax.models.pretrained.sources.imagenet import imagenet_sources
from fcnjax.training.initial_model import with_initial_model


def test_every_source_is_of_an_encoder_whose_files_are_read():
    sources = imagenet_sources()
    assert len(sources) > 30
    for encoder, (source, licence) in sources.items():
        assert encoder in ENCODERS
        assert encoder_layouts(encoder)
        assert re.fullmatch(r"torchvision://\w+/IMAGENET1K_V\d|hf://[\w-]+/[\w.-]+", source)
        assert licence


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (["--config.model.encoder=resnet34"], "resnet34/IMAGENET1K_V1"),
        (["--config.model.encoder=vgg16"], "vgg16_bn/IMAGENET1K_V1"),
        (["--config.model.encoder=vgg16", "--config.model.norm=none"], "vgg16/IMAGENET1K_V1"),
    ],
)
def test_the_config_names_the_file(words, file):
    words = [*words, "--config.model.init_from=imagenet"]
    config, notes = with_initial_model(load_config("folder", words))
    assert config.model.init_from == f"torchvision://{file}"
    assert "BSD-3-Clause" in notes[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "imagenet needs an encoder"),
        (["--config.model.encoder=vanilla"], "for encoder vanilla; encoders that have one: vgg11"),
    ],
)
def test_other_encoders_are_errors(words, message):
    config = load_config("folder", [*words, "--config.model.init_from=imagenet"])
    with pytest.raises(UserError, match=message):
        with_initial_model(config)
