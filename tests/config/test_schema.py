"""The schema: its defaults are valid, and its names are those of the tables that read them."""

import fnmatch

import pytest

from fcnjax.config import check_section, default_config, flatten, load_config, refuse_unread_keys
from fcnjax.config.key import Scope
from fcnjax.config.overrides import VALUES_BY_READER
from fcnjax.config.schema import KEYS, SECTIONS, keys_with
from fcnjax.config.sections.data import OF_SOURCES
from fcnjax.data import SOURCES
from fcnjax.data.labels.mask_exif import MASK_EXIF
from fcnjax.data.pixel_type import PIXEL_TYPES
from fcnjax.errors import UserError
from fcnjax.losses.table import LOSSES
from fcnjax.metrics.extra import EXTRA
from fcnjax.models.build import DTYPES, HEADS
from fcnjax.models.decoders.table import DECODERS
from fcnjax.models.encoders.table import ENCODERS
from fcnjax.models.layers import ACTIVATIONS, ATTENTIONS, NORMS
from fcnjax.optim.optimizers import OPTIMIZERS
from fcnjax.optim.schedules import SCHEDULES
from fcnjax.training.class_weights import BALANCES

TABLES = {
    "model.head": HEADS,
    "model.norm": NORMS,
    "model.encoder_norm": NORMS,
    "model.activation": ACTIVATIONS,
    "model.dtype": DTYPES,
    "model.attention": ATTENTIONS,
    "data.pixel_type": PIXEL_TYPES,
    "data.labels.mask_exif": MASK_EXIF,
    "optim.name": OPTIMIZERS,
    "optim.schedule": SCHEDULES,
    "loss.balance": BALANCES,
}


def test_defaults_are_valid_and_every_key_has_a_meaning():
    config = default_config()
    for section in SECTIONS:
        check_section(config[section], section)
    assert flatten(config).keys() == KEYS.keys()
    for name, key in KEYS.items():
        assert key.meaning.endswith("."), name
        assert key.meaning.startswith("`") or key.meaning[0].isupper(), name


def test_config_data_has_fewer_than_25_keys_at_the_top_level():
    assert len(default_config().data) < 25


@pytest.mark.parametrize("name", TABLES)
def test_choices_are_the_names_of_the_table_that_is_read(name):
    assert set(KEYS[name].valid.choices) == set(TABLES[name])


def test_options_of_a_model_name_the_encoders_and_decoders_that_take_them():
    tables = {**ENCODERS, **DECODERS}
    for name, key in SECTIONS["model"].items():
        takers = {model for model, spec in tables.items() if name in spec.options}
        named = {reader: {*fnmatch.filter(tables, reader)} for reader in key.used_by}
        assert set().union(*named.values()) == takers, name
        assert {reader for reader, models in named.items() if not models} <= {"aux_head"}, name
    by_reader = {key for spec in tables.values() for key in spec.choices}
    assert {*by_reader, "padding"} == {*VALUES_BY_READER}


def test_options_of_a_loss_name_the_losses_that_take_them():
    readers = {}
    for loss, spec in LOSSES.items():
        for name in spec.options.values():
            readers.setdefault(name, set()).add(loss)
    assert readers == {name: set(SECTIONS["loss"][name].used_by) for name in readers}
    assert LOSSES.keys() <= SECTIONS["loss"].keys()


def test_other_readers_exist():
    for name, key in KEYS.items():
        if name.startswith("data."):
            assert set(key.used_by) <= SOURCES.keys(), name
        elif name.startswith("eval."):
            assert set(key.used_by) <= EXTRA.keys(), name
        elif name.startswith("optim."):
            assert set(key.used_by) <= OPTIMIZERS.keys() | SCHEDULES.keys(), name


@pytest.mark.parametrize(
    ("word", "readers"),
    [
        ("geotiff.window=64,64", "geotiff|landsat8_cloud"),
        ("nifti.axis=1", "nifti|colin27_aal"),
        ("coco.boxes=object", "coco"),
    ],
)
def test_a_key_of_another_source_is_refused(word, readers):
    with pytest.raises(UserError) as caught:
        load_config("folder", [f"--config.data.{word}"])
    name = word.partition("=")[0]
    assert str(caught.value) == (
        f"config.data.{name}: is read by config.data.source={readers}, and this config has folder"
    )
    source = readers.partition("|")[0]
    load_config("folder", [f"--config.data.source={source}", f"--config.data.{word}"])


def test_a_key_of_another_source_may_have_its_default():
    load_config("folder", ["--config.data.nifti.axis=2"])
    assert set(OF_SOURCES) < {name.split(".")[1] for name in KEYS if name.count(".") == 2}
    config = default_config()
    config.data.nifti.axis = 0
    refuse_unread_keys(config, ["data.geotiff.window"])


def test_scopes_list_keys():
    assert "data.root" in keys_with(Scope.PLACE)
    assert "optim.lr" not in keys_with(Scope.RESUME) + keys_with(Scope.EVALUATE)
    assert "data.labels.mask_values" in keys_with(Scope.EVALUATE)
