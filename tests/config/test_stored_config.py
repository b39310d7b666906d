"""Configs from untrusted folders are checked as those of a training run."""

import functools
import json
import operator

import pytest

from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.training.config_checks import check_config
from fcnjax.training.workdir import load_requested_config, load_saved_config, save_config

WRONG = [
    # Types.
    ("train.steps", True, "is True; valid: a whole number"),
    ("train.steps", 1e3, "is 1000.0; valid: a whole number"),
    ("train.steps", None, "is null; valid: a whole number"),
    ("optim.lr", "fast", "is 'fast'; valid: a number"),
    ("optim.freeze_norm", 1, "is 1; valid: true or false"),
    ("model.encoder", 3, "is 3; valid: a text"),
    ("model.widths", "8,16", "valid: a list"),
    ("model.encoder", {"a": 1}, "valid: a text"),
    ("model.widths", [8, {"a": 1}], "valid: numbers, texts and lists"),
    ("data.class_names", [["a"], 3], "valid: texts"),
    ("data.palette", [[0, 0, 0], [0, 0]], "valid: RGB triples"),
    ("data.spacing", 1, "unknown 'spacing'"),
    # Sizes.
    ("data.root", "x" * 5000, "is no text of at most 4096"),
    ("data.root", "a\0b", "is no text of at most 4096"),
    ("model.widths", [8] * 5000, "is no list of at most 4096"),
    ("model.widths", [[[[[[8]]]]]], "nested 4 deep"),
    ("train.seed", 2**40, "is out of range"),
    ("optim.lr", float("inf"), "is out of range"),
    ("optim.lr", float("nan"), "is out of range"),
    # Ranges.
    ("eval.bucket", 0, "config.eval.bucket: 0 is not in 1..1024"),
    ("eval.bucket", 10**9, "config.eval.bucket: 1000000000 is not in 1..1024"),
    ("augment.crop", [32, 10**6], "is not a height and width in 1..16384"),
    ("train.batch_size", 0, "config.train.batch_size: 0 is not in 1.."),
    ("data.loading.workers", 10**9, "config.data.loading.workers: 1000000000 is not in 0..1024"),
    ("data.std", [0.0, 1.0, 1.0], "has a 0"),
    ("data.channels", ",".join(map(str, range(1025))), "is not RGB, L"),
    ("data.class_names", ["a"], "has 2 entries for 1 classes"),
    ("data.palette", [[0, 0, 0]] * 3, "has 3 entries for 2 classes"),
    ("data.ignore_label", 1, "1 cannot be used with the class ids"),
    ("data.split.group_by", "(a+)+b", "may take unbounded time"),
    ("optim.freeze", ["(a+)+b"], "may take unbounded time"),
    ("optim.freeze", ["a{99999999999}"], "is not a regular expression"),
    ("optim.name", "x", "config.optim.name: unknown 'x'"),
    ("loss.dice", -1.0, "is not a number of 0 or more"),
    # Models.
    ("model.widths", [8, 10**9], "is not a list of at most 16 whole numbers in 1..65536"),
    ("model.widths", [8] * 17, "is not a list of at most 16"),
    ("model.decoder_width", 10**9, "config.model.decoder_width"),
    ("model.encoder", "vgg17", "config.model.encoder: unknown 'vgg17'"),
    ("model.dtype", "int8", "config.model.dtype: unknown 'int8'"),
]


def workdir_with(folder, key, value, section="config"):
    config = default_config()
    config.data.class_names = ("ground", "vessel")
    config.data.palette = ((0, 0, 0), (255, 0, 0))
    save_config(folder, config, requested=config.to_dict())
    saved = json.loads((folder / "config.json").read_text())
    *sections, leaf = key.split(".")
    functools.reduce(operator.getitem, sections, saved[section])[leaf] = value
    (folder / "config.json").write_text(json.dumps(saved))
    return folder


@pytest.mark.parametrize(("key", "value", "words"), WRONG)
def test_invalid_value_is_refused(tmp_path, key, value, words):
    with pytest.raises(UserError) as error:
        load_saved_config(workdir_with(tmp_path, key, value))
    assert words in str(error.value)
    assert str(error.value).startswith(f"{tmp_path}/config.json: ")


def test_types_of_a_requested_config_are_checked(tmp_path):
    with pytest.raises(UserError, match=r"train\.steps: is 'x'; valid: a whole number"):
        load_requested_config(workdir_with(tmp_path, "train.steps", "x", "requested"))


@pytest.mark.parametrize(
    "content", ["[" * 10**5, "9" * 5000, '"\\ud800"', "3", "", "{" + " " * 2**22]
)
def test_file_without_a_config_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json") as error:
        load_saved_config(tmp_path)
    assert "\n" not in str(error.value)


def test_training_checks_the_same_ranges():
    config = default_config()
    config.data.class_names = ("ground", "vessel")
    check_config(config)
    config.eval.bucket = 2**20
    with pytest.raises(UserError, match=r"config.eval.bucket: 1048576 is not in 1\.\.1024"):
        check_config(config)
