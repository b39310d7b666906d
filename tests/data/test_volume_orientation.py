"""Volumes of several orientations are reoriented to one, and predictions back."""

import itertools

import numpy as np
import pytest

from fcnjax import cli, data
from fcnjax.config import check_value, load_config
from fcnjax.data.readers.volumes.orientation import Reorientation, oblique_degrees, reorient_to
from fcnjax.data.readers.volumes.read import open_volume
from fcnjax.errors import UserError
from fcnjax.validate import check

nibabel = pytest.importorskip("nibabel")
SHAPE = (12, 9, 7)
# The stored axes point to the left, the back and the head: LPS.
AFFINE = np.array([[-1.5, 0, 0, 20], [0, -0.8, 0, 30], [0, 0, 3, -40], [0, 0, 0, 1.0]])
ALL = [
    "".join(letters)
    for pairs in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*pairs)
]


def made(seed=0, affine=AFFINE):
    """A volume of noise with a bright corner, and its mask."""
    voxels = np.random.default_rng(seed).integers(0, 300, SHAPE).astype(np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    mask[:5, :3, :4] = 1
    image = nibabel.Nifti1Image(voxels + 500 * mask.astype(np.int16), affine)
    return image, nibabel.Nifti1Image(mask, affine)


def oriented(image, orientation):
    """The same volume, stored in another orientation."""
    old = nibabel.io_orientation(image.affine)
    new = nibabel.orientations.axcodes2ornt(orientation)
    return image.as_reoriented(nibabel.orientations.ornt_transform(old, new))


def write(root, orientations, masks=None, suffix=".nii.gz"):
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i, orientation in enumerate(orientations):
        image, mask = made(i)
        nibabel.save(oriented(image, orientation), root / "images" / f"v{i}{suffix}")
        of_mask = orientation if masks is None else masks[i]
        nibabel.save(oriented(mask, of_mask), root / "masks" / f"v{i}{suffix}")
    (root / "train.txt").write_text("".join(f"v{i}\n" for i in range(len(orientations) - 1)))
    (root / "val.txt").write_text(f"v{len(orientations) - 1}\n")
    return root


def config_of(root, *overrides):
    options = [f"--config.data.root={root}", "--config.data.source=nifti"]
    options += ["--config.data.channels=L", "--config.data.mean=0.5", "--config.data.std=0.25"]
    options += ["--config.data.nifti.intensity=0,800", *overrides]
    return load_config("folder", options)


@pytest.mark.parametrize("orientation", ALL)
def test_reorientation_equals_that_of_nibabel(orientation):
    image, _ = made()
    turn = reorient_to(orientation, image, "v")
    wanted = oriented(image, orientation)
    voxels = np.asarray(image.dataobj)
    np.testing.assert_array_equal(turn.apply(voxels), wanted.dataobj)
    np.testing.assert_allclose(turn.affine(image.affine, SHAPE), wanted.affine)
    assert turn.shape(SHAPE) == wanted.shape
    assert (turn == Reorientation()) == (orientation == "LPS")
    for axis, position in ((0, 1), (1, 2), (2, 3)):
        for stored in (voxels, image.dataobj):
            found = turn.read_slice(stored, axis, position)
            np.testing.assert_array_equal(
                found, np.asarray(wanted.dataobj).take(position, axis), err_msg=f"{axis}"
            )


def examples(config, part):
    source = data.open_source(config, part)
    return [source[i] for i in range(len(source))]


@pytest.mark.parametrize(("axis", "suffix"), [(0, ".nii.gz"), (2, ".nii")])
def test_several_orientations_give_slices_of_one(tmp_path, axis, suffix):
    one = write(tmp_path / "one", ["RAS"] * 4, suffix=suffix)
    several = write(tmp_path / "several", ["RAS", "LPS", "AIL", "PSR"], suffix=suffix)
    # A mask may have another orientation than its image: both are reoriented.
    crossed = write(
        tmp_path / "crossed", ["RAS", "LPS", "AIL", "PSR"], ["LPS", "RAS", "SAR", "PSR"], suffix
    )
    configs, notes = zip(
        *(
            data.resolve(config_of(root, f"--config.data.nifti.axis={axis}"))
            for root in (one, several)
        ),
        strict=True,
    )
    assert [config.data.nifti.orientation for config in configs] == ["RAS", "RAS"]
    assert not any("turned" in note for note in notes[0])
    assert any("1 volumes, as v1" in note and "turned to RAS" in note for note in notes[1])
    of_crossed, _ = data.resolve(config_of(crossed, f"--config.data.nifti.axis={axis}"))
    for part in ("train", "eval"):
        wanted = examples(configs[0], part)
        for config in (configs[1], of_crossed):
            found = examples(config, part)
            assert len(found) == len(wanted)
            for other, example in zip(wanted, found, strict=True):
                assert other["name"] == example["name"]
                for key in ("image", "label"):
                    np.testing.assert_array_equal(example[key], other[key])
    assert wanted[0]["image"].shape[:2] == tuple(np.delete(SHAPE, axis))


def test_orientation_can_be_configured(tmp_path):
    root = write(tmp_path / "set", ["RAS", "RAS"])
    config, notes = data.resolve(config_of(root, "--config.data.nifti.orientation=LPI"))
    assert any("2 volumes, as v0.nii.gz, are stored as RAS" in note for note in notes)
    wanted = np.asarray(oriented(made(0)[0], "LPI").dataobj)[..., 3]
    image = examples(config, "train")[3]["image"][..., 0]
    np.testing.assert_array_equal(image, np.round(np.clip(wanted / 800, 0, 1) * 65535))
    for wrong in ("RAR", "RA", "xyz", "RASL"):
        with pytest.raises(
            UserError, match=f"config.data.nifti.orientation: '{wrong}' is not one letter"
        ):
            check_value("data.nifti.orientation", wrong)


def test_data_check_names_volumes_of_other_orientations(tmp_path):
    root = write(tmp_path / "set", ["RAS", "RAS", "AIL", "RAS"])
    (finding,) = (f for f in check(config_of(root)).findings if f.kind == "orientations")
    assert finding.severity == "note"
    assert "3 RAS" in finding.text
    assert "1 AIL: v2.nii.gz; all are turned to RAS" in finding.text
    # Without a position in the patient.
    for folder, image in zip(("images", "masks"), made(1), strict=True):
        image = nibabel.Nifti1Image(np.asarray(image.dataobj), None)
        image.header.set_zooms((1.5, 0.8, 3))
        nibabel.save(image, root / folder / "v1.nii.gz")
    (finding,) = (f for f in check(config_of(root)).findings if f.kind == "orientations")
    assert finding.severity == "warning"
    assert "of no known orientation: v1.nii.gz" in finding.text
    _, notes = data.resolve(config_of(root))
    assert any("1 volumes, as v1.nii.gz, do not state their orientation" in note for note in notes)


def test_oblique_volumes_use_the_nearest_axes(tmp_path):
    def turned(degrees):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0]]) @ AFFINE

    near, far = (made(0, np.vstack([turned(degrees), [0, 0, 0, 1]]))[0] for degrees in (30, 44))
    assert oblique_degrees(near.affine) == pytest.approx(30)
    assert reorient_to("RAS", near, "v") == reorient_to("RAS", made()[0], "v")
    assert reorient_to("LPS", far, "v") == Reorientation()
    with pytest.raises(UserError, match=r"v: lies obliquely, 44 degrees off .*has to be RAS"):
        reorient_to("RAS", far, "v")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, make_run, tiny_options):
    root = write(tmp_path_factory.mktemp("set") / "set", ["RAS", "RAS", "RAS"])
    config, _ = data.resolve(config_of(root, *tiny_options, "--config.data.nifti.axis=1"))
    assert config.data.nifti.orientation == "RAS"
    return make_run(tmp_path_factory.mktemp("runs") / "ras", config)


def test_predicted_mask_has_the_orientation_of_its_volume(workdir, tmp_path, capsys):
    image, _ = made(7)
    files = []
    for orientation in ("RAS", "LPS", "AIL", "SPR"):
        files.append(tmp_path / f"{orientation}.nii.gz")
        nibabel.save(oriented(image, orientation), files[-1])
    argv = ["predict", f"--model={workdir}", *map(str, files), f"--out={tmp_path / 'out'}"]
    assert cli.main([*argv, "--outputs=mask,confidence"]) == 0
    assert "AIL.nii.gz: 9 slices predicted" in (printed := capsys.readouterr().out)
    assert "axes to A, I, L, turned to R, A, S and back" in printed
    wanted = {
        output: nibabel.load(tmp_path / "out" / f"RAS_{output}.nii.gz")
        for output in ("mask", "confidence")
    }
    assert len(np.unique(wanted["mask"].dataobj)) > 1
    for file in files:
        for output, of_ras in wanted.items():
            name = f"{file.name.removesuffix('.nii.gz')}_{output}.nii.gz"
            found, stored = nibabel.load(tmp_path / "out" / name), nibabel.load(file)
            np.testing.assert_array_equal(found.affine, stored.affine)
            assert found.shape == stored.shape
            back = oriented(found, "RAS")
            np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(of_ras.dataobj))


def test_dicom_series_is_reoriented_like_its_volume(workdir, tmp_path):
    pytest.importorskip("pydicom")
    import dicom_files

    stored = np.random.default_rng(0).integers(0, 800, (6, 14, 11)).astype(np.int16)
    directions = np.array([[1, 0, 0], [0, 1, 0]], float)
    dicom_files.write_series(tmp_path / "patient", stored, directions)
    volume = open_volume(tmp_path / "patient")
    assert nibabel.aff2axcodes(volume.affine) == ("L", "P", "S")
    nibabel.save(
        oriented(nibabel.Nifti1Image(volume.dataobj, volume.affine), "RAS"), tmp_path / "ras.nii.gz"
    )
    argv = [
        "predict",
        f"--model={workdir}",
        str(tmp_path / "patient"),
        str(tmp_path / "ras.nii.gz"),
    ]
    assert cli.main([*argv, f"--out={tmp_path / 'out'}", "--outputs=mask"]) == 0
    of_series, of_ras = (
        nibabel.load(tmp_path / "out" / f"{name}_mask.nii.gz") for name in ("patient", "ras")
    )
    np.testing.assert_allclose(of_series.affine, volume.affine, atol=1e-4)
    np.testing.assert_array_equal(
        np.asarray(oriented(of_series, "RAS").dataobj), np.asarray(of_ras.dataobj)
    )
