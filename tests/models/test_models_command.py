import pytest

from fcnjax.errors import UserError
from fcnjax.models import DECODERS, ENCODERS
from fcnjax.models.command import main

CONFIG = """
from fcnjax.config import default_config

def get_config(arg=None):
    return default_config()
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "small.py"
    path.write_text(CONFIG)
    return f"--config={path}"


def test_lists_every_encoder_and_decoder(capsys):
    main([])
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if line} >= {*ENCODERS, *DECODERS}
    row = next(line for line in lines if line.startswith("resnet50"))
    assert "2 4 8 16 32" in row
    assert "23.51 M" in row  # torchvision's 25,557,032 less the classifier's 2,049,000


def test_describes_the_model_of_a_config(spec, capsys):
    main([spec, "--config.model.encoder=resnet18", "--config.model.decoder=fcn8s"])
    out = capsys.readouterr().out
    assert "fcn8s over resnet18" in out
    assert "11.18 M" in out
    assert "2 classes assumed" in out
    assert "8, resized to 1" in out


def test_mistakes_are_named(spec, capsys):
    with pytest.raises(UserError, match=r"config\.model\.encoder"):
        main([spec, "--config.model.encoder=resnet"])
    for words in (["--confg=x"], [spec, "stray"], ["--config.model.encoder=vgg16"]):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert words[-1].split("=")[0] in capsys.readouterr().err


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert "usage: fcnjax models" in (out := capsys.readouterr().out)
    assert "fcnjax models --config=" in out
