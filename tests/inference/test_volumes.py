"""NIfTI volumes and DICOM series in, NIfTI out: against each slice as an array."""

import gzip
import json
import sys

import numpy as np
import pytest
from data_keys import set_data

import fcnjax
from fcnjax import cli, data
from fcnjax.config import load_config

nibabel = pytest.importorskip("nibabel")
SHAPE = (21, 34, 6)
AFFINE = np.array([[-0.7, 0.1, 0, 90], [0.1, 0.7, 0, -126], [0, 0, 2.5, -72], [0, 0, 0, 1.0]])


def write_volume(path, shape=SHAPE):
    """Noise from -100 to 100 in steps of a half, with a place, units and a description."""
    voxels = np.random.default_rng(0).integers(-200, 201, shape).astype(np.int16)
    image = nibabel.Nifti1Image(voxels, AFFINE)
    image.header.set_slope_inter(0.5, 0)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"made"
    image.header["cal_max"] = 100
    image.set_qform(AFFINE, code=1)
    image.set_sform(AFFINE, code=4)
    nibabel.save(image, path)
    return path


@pytest.fixture
def dicom_files():
    pytest.importorskip("pydicom")
    import dicom_files

    return dicom_files


@pytest.fixture(scope="module")
def of_slices(shapes, tiny_options, tmp_path_factory, make_run):
    """`of_slices(**data)`: a model of grey slices."""

    def make(name, **settings):
        options = [*tiny_options, "--config.data.channels=L"]
        options += ["--config.data.mean=0.5", "--config.data.std=0.25"]
        config, _ = data.resolve(load_config(f"folder:root={shapes}", options))
        set_data(config, settings)
        return make_run(tmp_path_factory.mktemp("runs") / name, config)

    return make


def predict(*arguments):
    return cli.main(["predict", *map(str, arguments)])


@pytest.mark.parametrize("axis", [0, 2])
def test_volume_keeps_its_geometry_and_slices_are_predicted_alone(
    of_slices, tmp_path, axis, capsys
):
    shape = SHAPE if axis else (*SHAPE, 1)
    path = write_volume(tmp_path / "scan.nii.gz", shape)
    workdir = of_slices(f"along{axis}", axis=axis, intensity=(-40, 60))
    outputs = "--outputs=mask,overlay,confidence,components"
    assert predict(path, f"--model={workdir}", f"--out={tmp_path / 'out'}", outputs) == 0
    assert f"scan.nii.gz: {SHAPE[axis]} slices predicted, " in capsys.readouterr().out
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["scan_components.json", "scan_confidence.nii.gz", "scan_mask.nii.gz"]
    stored = nibabel.load(path)
    mask = nibabel.load(tmp_path / "out" / "scan_mask.nii.gz")
    assert mask.shape == shape
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(mask.affine, stored.affine)
    assert mask.header.get_xyzt_units() == ("mm", "sec")
    for key in ("qform_code", "sform_code", "pixdim", "descrip"):
        np.testing.assert_array_equal(mask.header[key], stored.header[key])
    assert mask.header["cal_max"] == 0
    voxels, model = stored.get_fdata().reshape(SHAPE), fcnjax.load(workdir)
    masks = np.asarray(mask.dataobj).reshape(SHAPE)
    sure = nibabel.load(tmp_path / "out" / "scan_confidence.nii.gz").get_fdata().reshape(SHAPE)
    for position in range(SHAPE[axis]):
        part = voxels.take(position, axis)
        image = np.round(np.clip((part + 40) / 100, 0, 1) * 255).astype(np.uint8)
        predicted = model(image)
        np.testing.assert_array_equal(masks.take(position, axis), predicted.mask)
        np.testing.assert_allclose(
            sure.take(position, axis), predicted.probabilities.max(-1), atol=1e-5
        )
    assert len(np.unique(masks)) > 1
    content = json.loads((tmp_path / "out" / "scan_components.json").read_text())
    sizes = [(one["id"], one["height"], one["width"]) for one in content["images"]]
    assert sizes == [(i, *masks.take(0, axis).shape) for i in range(SHAPE[axis])]
    total_areas = np.zeros((SHAPE[axis], len(np.unique(masks)) + 1), int)
    for one in content["annotations"]:
        total_areas[one["image_id"], one["category_id"]] += one["area"]
    for position, areas in enumerate(total_areas):
        for value in range(1, len(areas)):
            assert areas[value] == np.count_nonzero(masks.take(position, axis) == value)


@pytest.fixture(scope="module")
def with_window(of_slices):
    return of_slices("window", axis=2, intensity=(-40, 60))


def test_dicom_series_is_predicted_as_its_nifti_file(with_window, dicom_files, tmp_path, capsys):
    shape = (6, 34, 21)  # slices, rows, columns
    stored = np.random.default_rng(0).integers(-100, 101, shape).astype(np.int16)
    directions = dicom_files.turned(0.3, 0.2, -0.5)
    tags = {"RescaleSlope": "0.5", "RescaleIntercept": "3"}
    place = dicom_files.positions_of(directions)
    dicom_files.write_series(tmp_path / "patient.1", stored, directions, **tags)
    # The same by hand: DICOM's directions in columns, and left and back turned over.
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = directions[0] * 0.5, directions[1] * 0.8
    affine[:3, 2], affine[:3, 3] = (place[-1] - place[0]) / 5, place[0]
    affine = np.diag([-1, -1, 1, 1]) @ affine
    voxels = (stored * 0.5 + 3).transpose(2, 1, 0).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "same.nii.gz")

    out = tmp_path / "out"
    assert predict(tmp_path, f"--model={with_window}", f"--out={out}") == 0
    printed = capsys.readouterr().out
    assert "patient.1: 6 slices predicted, " in printed
    assert "; axes to L, P, S" in printed
    assert sorted(file.name for file in out.iterdir()) == [
        "patient.1_mask.nii.gz",
        "same_mask.nii.gz",
    ]
    mask, same = (nibabel.load(out / f"{name}_mask.nii.gz") for name in ("patient.1", "same"))
    np.testing.assert_allclose(mask.affine, affine, atol=1e-5)
    assert mask.get_data_dtype() == np.uint8
    assert mask.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(same.dataobj))
    image = np.round(np.clip((voxels[..., 2] + 40) / 100, 0, 1) * 255).astype(np.uint8)
    predicted = fcnjax.load(with_window)(image)
    np.testing.assert_array_equal(np.asarray(mask.dataobj)[..., 2], predicted.mask)
    assert len(np.unique(predicted.mask)) > 1


def test_damaged_volume_does_not_stop_the_others(with_window, tmp_path, capsys):
    folder = tmp_path / "scans"
    folder.mkdir()
    content = bytearray(gzip.decompress(write_volume(folder / "b.nii.gz").read_bytes()))
    content[108:112] = np.float32(5000).tobytes()  # where voxels begin
    (folder / "c.nii").write_bytes(content[:352] + bytes(5000 - 352) + content[352:])
    content_b = (folder / "b.nii.gz").read_bytes()
    (folder / "a.nii.gz").write_bytes(content_b[: len(content_b) // 2])
    (folder / "d.dcm").write_bytes(b"DICM".rjust(132, b"\0") + b"\2\0\x10\0US")
    out = tmp_path / "out"
    outputs = "--outputs=mask,components"
    assert predict(folder, f"--model={with_window}", f"--out={out}", outputs) == 1
    failed = capsys.readouterr()
    assert "vox offset" not in failed.err  # what nibabel would print
    errors = [line for line in failed.err.splitlines() if line.startswith("error: ")]
    assert f"error: {folder / 'd.dcm'}: was cut off: its header has no image size" in errors[0]
    assert f"error: {folder / 'a.nii.gz'}: cannot be read as NIfTI: Compressed file" in errors[1]
    volumes = {file.name for file in out.iterdir() if file.name.endswith("_mask.nii.gz")}
    assert volumes == {"b_mask.nii.gz", "c_mask.nii.gz"}
    assert {file.name for file in out.glob("*_components.json")} == {
        "b_components.json",
        "c_components.json",
    }
    one, other = (nibabel.load(out / name) for name in sorted(volumes))
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    assert len(gzip.decompress((out / "c_mask.nii.gz").read_bytes())) == 352 + np.prod(SHAPE)


def test_invalid_dicom_series_is_a_one_line_error(with_window, dicom_files, tmp_path, capsys):
    paths = dicom_files.write_series(tmp_path / "series", np.zeros((5, 8, 8), np.int16))
    paths[2].unlink()
    common = (f"--model={with_window}", f"--out={tmp_path / 'out'}")
    for source, words in (
        (tmp_path / "series", f"{paths[3]}: lies 5 mm after {paths[1]}, and others"),
        (tmp_path / "nowhere", "nowhere: no image there; valid: a file, a folder or a glob of"),
        (tmp_path / "series" / "1.2", "series: holds no series 1.2; valid: "),
    ):
        assert predict(source, *common) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert words in error
    assert predict(tmp_path / "series", *common, "--runner=ray") == 2
    assert "series: is a volume, which needs --runner=local" in capsys.readouterr().err


def test_invalid_volumes_are_one_line_errors(of_slices, tmp_path, capsys, monkeypatch):
    path = write_volume(tmp_path / "scan.nii.gz")
    workdir = of_slices("percentiles", intensity=())
    common = (f"--model={workdir}", f"--out={tmp_path / 'out'}")
    cut, four = tmp_path / "cut.nii.gz", write_volume(tmp_path / "four.nii", (4, 4, 4, 2))
    cut.write_bytes(path.read_bytes()[:900])
    for arguments, words in (
        ((cut,), "cut.nii.gz: cannot be read as NIfTI"),
        ((four,), "four.nii: has the shape (4, 4, 4, 2); valid: three axes"),
        ((path, "--outputs=overlay"), "--outputs of a volume: valid: mask, confidence, entropy"),
        ((path, "--outputs=mask,probabilities"), "components; not probabilities"),
        ((path, "--runner=ray"), "scan.nii.gz: is a volume, which needs --runner=local"),
    ):
        assert predict(*arguments, *common) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert words in error
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert predict(path, *common) == 2
    assert "pip install 'fcnjax[medical]'" in capsys.readouterr().err
