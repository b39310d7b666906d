"""A published model composes with the rest: inspection, export, serving, ensembles, TTA."""

import numpy as np
import pytest
from drawn_models import NAMES, read_image, size_of, write_published

from fcnjax import cli, load

# By default one stands for all; the others are marked slow.
REPRESENTATIVE = "segformer"
ALL = [
    pytest.param(name, marks=[] if name == REPRESENTATIVE else pytest.mark.slow) for name in NAMES
]


@pytest.fixture(params=ALL)
def folder(request, tmp_path):
    return write_published(request.param, tmp_path / request.param)


def test_models_commands(folder):
    assert cli.main(["models", "show", f"--model={folder}", "--size=64x64"]) == 0
    size = ["--size=64x64"]
    assert cli.main(["models", "receptive-field", f"--model={folder}", *size]) == 0
    out = folder / "features.png"
    argv = ["models", "features", f"--model={folder}", str(folder / "image.png"), f"--out={out}"]
    assert cli.main(argv) == 0
    assert out.is_file()


# Their size depends on the image, or images are split: an exported program needs a fixed size.
DYNAMIC = {"eomt", "eomt_dinov3", "mobilenet_v2", "mobilevit", "mobilevitv2"}


def test_exported_program_gives_the_same_mask(folder, tmp_path, capsys):
    out = tmp_path / "program"
    argv = ["export", f"--model={folder}", "--format=stablehlo", f"--out={out}"]
    resize = "48x64" if folder.name in DYNAMIC else None
    if resize is not None:
        assert cli.main(argv) == 2
        assert "depends on the size of each image" in capsys.readouterr().err
        argv.append(f"--resize={resize}")
    assert cli.main(argv) == 0
    image = read_image(folder / "image.png")
    expected = load(folder, resize=resize)(image)
    np.testing.assert_allclose(load(out)(image).probabilities, expected.probabilities, atol=1e-4)


def test_test_time_augmentation_and_ensembles(folder, tmp_path):
    image = folder / "image.png"
    argv = ["predict", str(image), f"--out={tmp_path / 'out'}", "--tta=hflip,rot90"]
    assert cli.main([*argv, f"--model={folder}", f"--model={folder}"]) == 0
    assert size_of(tmp_path / "out/image_mask.png") == size_of(image)
