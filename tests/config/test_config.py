import pytest

from fcnjax.config import default_config, differences, flatten, load_config, parse_arg
from fcnjax.errors import UserError
from fcnjax.training.workdir import load_saved_config, save_config, without_machine_keys


@pytest.fixture
def config_file(tmp_path):
    def write(body):
        path = tmp_path / "experiment.py"
        path.write_text(
            "from fcnjax.config import default_config\n"
            f"def get_config(arg=None):\n    config = default_config()\n    {body}\n"
            "    return config\n"
        )
        return str(path)

    return write


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("--config.optim.lr=3e-3", "optim.lr", 0.003),
        ("--config.train.steps=7", "train.steps", 7),
        ("--config.data.sampling.shuffle_labels=true", "data.sampling.shuffle_labels", True),
        ("--config.data.root=/a b/c,d", "data.root", "/a b/c,d"),
        ("--config.augment.crop=64,32", "augment.crop", (64, 32)),
        ("--config.augment.crop=(64,32)", "augment.crop", (64, 32)),
        ("--config.data.class_names=sky,tall tree", "data.class_names", ("sky", "tall tree")),
        ("--config.data.palette=(0,0,0),(9,9,9)", "data.palette", ((0, 0, 0), (9, 9, 9))),
        ("--config.data.loading.cache=device", "data.loading.cache", "device"),
        ("--config.data.loading.cache=None", "data.loading.cache", None),
        ("--config.model.widths=8,16", "model.widths", (8, 16)),
    ],
)
def test_override_has_the_type_of_the_key(config_file, word, key, value):
    config = load_config(config_file("pass"), [word])
    assert config[key] == value
    assert type(config[key]) is type(value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config.optim.lrr=1", r"--config\.optim: unknown 'lrr' \(did you mean 'lr'\?\); valid:"),
        ("--config.otpim.lr=1", r"--config: unknown 'otpim' \(did you mean 'optim'\?\)"),
        ("--config.train.steps=1.5", r"--config\.train\.steps: '1\.5' is not a whole number"),
        ("--config.optim.lr=fast", r"--config\.optim\.lr: 'fast' is not a number"),
        ("--config.data.sampling.shuffle_labels=yes", r"'yes' is not true or false"),
        ("--config.optim=3", r"--config\.optim: is a section; its keys: average_last,"),
        ("--config.optim.lr.x=3", r"config\.optim\.lr is a value, not a section"),
        ("--config.optim.lr", r"--config\.optim\.lr: needs a value"),
        ("--config.augment.crop=(1,", r"is not a list"),
    ],
)
def test_bad_override_is_one_line_that_names_the_key(config_file, word, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config(config_file("pass"), [word])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("body", ["config.optim.lrr = 1", "config.train.steps = 'many'", "oops"])
def test_error_in_a_config_file_names_file_and_line(config_file, body):
    path = config_file(body)
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}:4: ")
    assert "\n" not in str(caught.value)


def test_unknown_config_lists_the_shipped_ones_and_suggests_the_nearest():
    with pytest.raises(UserError, match=r"no file 'foldr' \(did you mean 'folder'\?\); .* ade20k,"):
        load_config("foldr:root=/x")
    with pytest.raises(UserError, match=r"no file 'my/stare.py'; give a path"):
        load_config("my/stare.py")


def test_another_encoder_on_the_command_line_drops_options_of_the_first(config_file, capsys):
    path = config_file("config.model.update(widths=(4, 8), upsample='transposed', dropout=0.5)")
    model = load_config(path, ["--config.model.encoder=resnet34"]).model
    assert (model.encoder, model.widths, model.upsample) == ("resnet34", None, "transposed")
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "note: config.model.widths=(4, 8) is dropped: the config set it for encoder vanilla and "
        "decoder unet"
    )
    # `unet_smp` takes `upsample`, but with other values.
    model = load_config(path, ["--config.model.decoder=unet_smp"]).model
    assert (model.widths, model.upsample, model.dropout) == ((4, 8), None, 0.5)
    assert "config.model.upsample=transposed is dropped" in capsys.readouterr().err
    model = load_config(path, ["--config.model.decoder=lraspp"]).model
    assert (model.upsample, model.dropout) == (None, None)
    # The number of the decoder's stages depends on the encoder.
    config = load_config("biomedical_he_nuclei", ["--config.model.encoder=convnext_tiny"])
    assert config.model.decoder_widths is None
    capsys.readouterr()
    words = ["--config.model.encoder=resnet34", "--config.model.widths=2,4"]
    assert load_config(path, words).model.widths == (2, 4)
    assert load_config(path, ["--config.model.encoder=vanilla"]).model.widths == (4, 8)
    assert capsys.readouterr().err == ""


def test_another_encoder_on_the_command_line_has_its_own_published_weights(capsys):
    words = ["--config.model.encoder=resnet50"]
    config = load_config("pets_tfds", words)
    assert config.model.init_from == "package://resnet50"
    assert "init_from=package://resnet50, for encoder resnet50" in capsys.readouterr().err
    config = load_config("pets_tfds", [*words, "--config.model.init_from=weights.pth"])
    assert config.model.init_from == "weights.pth"


@pytest.mark.parametrize("spec", ["biomedical_stare", "configs/biomedical_stare.py"])
def test_shipped_configs_are_found_from_any_folder(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(spec).data.source == "stare"


def test_config_argument():
    assert parse_arg("root=/x,cpu", root="", cpu=False, n=3).to_dict() == {
        "root": "/x",
        "cpu": True,
        "n": 3,
    }
    with pytest.raises(UserError, match=r"config argument: unknown 'rot' .*'root'"):
        parse_arg("rot=/x", root="")
    with pytest.raises(UserError, match="config argument n: 'x' is not a whole number"):
        parse_arg("n=x", n=3)
    # A folder's name may have commas; what follows the next name is not part of it.
    parsed = parse_arg("root=/a, b,c d,n=4,cpu", root="", cpu=False, n=3)
    assert (parsed.root, parsed.n, parsed.cpu) == ("/a, b,c d", 4, True)
    with pytest.raises(UserError, match="rot"):
        parse_arg("root=/a,rot=4", root="")
    with pytest.raises(UserError, match="config argument root: needs a value"):
        parse_arg("root", root="")


def test_saved_config_reads_back_the_same(tmp_path):
    config = default_config()
    config.model.widths = (8, 16)
    config.data.class_names = ("ground", "vessel")
    config.data.palette = ((0, 0, 0), (255, 0, 0))
    config.data.loading.cache = "device"
    config.optim.lr = 1
    save_config(tmp_path, config)
    read = load_saved_config(tmp_path)
    assert flatten(read) == flatten(config)
    assert differences(config, read) == []


def test_differences_lists_keys_except_those_that_may_differ():
    one, other = default_config(), default_config()
    other.optim.lr = 1.0
    other.mesh.data = 2
    assert differences(one, other) == ["mesh.data", "optim.lr"]
    assert differences(one, other, may_differ=("mesh.data",)) == ["optim.lr"]


def test_a_folder_without_config_is_not_a_workdir(tmp_path):
    with pytest.raises(UserError, match="is not a workdir"):
        load_saved_config(tmp_path)
    (tmp_path / "config.json").write_text('{"format_version": 99}')
    with pytest.raises(UserError, match="format_version is 99"):
        load_saved_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        load_saved_config(tmp_path)


def test_override_resets_a_key_to_none():
    config = load_config("driving_cityscapes", ["--config.model.init_from=None"])
    assert config.model.init_from is None
    assert load_config("driving_cityscapes", []).model.init_from is not None


def test_published_config_has_no_paths(tmp_path):
    config = default_config()
    for key in ("root", "images", "masks", "annotations", "name"):
        config.data[key] = f"/secret/{key}"
    config.data.sampling.mix = (("folder:root=/secret/mix", 0.5),)
    config.model.init_from = "/secret/weights"
    save_config(tmp_path, without_machine_keys(config))
    assert "secret" not in (tmp_path / "config.json").read_text()
    config.data.images = "photos"
    assert without_machine_keys(config).data.images == "photos"
