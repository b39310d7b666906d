"""DICOM series as volumes: positions by DICOM's formula, and refusals."""

import sys

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")
nibabel = pytest.importorskip("nibabel")

from dicom_files import (  # noqa: E402
    AXIAL,
    SAGITTAL,
    SPACING,
    image_of,
    numbers,
    positions_of,
    save,
    turned,
    write_series,
)

from fcnjax.data.readers.volumes.read import is_volume, open_volume, percentiles, read_slice  # noqa: E402
from fcnjax.errors import UserError  # noqa: E402

OBLIQUE = turned(0.4, -0.3, 0.7)
TILTED = (0, 0.9, 0)  # mm a slice, as of a tilted gantry


def all_different(count=6, size=(7, 5)):
    """Slices in which all pixels differ."""
    values = np.random.default_rng(1).permutation(count * size[0] * size[1])
    return (values.reshape(count, *size) - 90).astype(np.int16)


def check_places(image, stored, positions, directions, slope=1, intercept=0):
    """Check the position of each pixel by DICOM (PS3.3, equation C.7.6.2.1-1)."""
    voxels = np.asarray(image.dataobj)
    assert voxels.shape == (stored.shape[2], stored.shape[1], stored.shape[0])
    along_row, along_column = np.asarray(directions, float)
    for values, position in zip(stored, positions, strict=True):
        for row, column in ((0, 0), (6, 0), (0, 4), (3, 2)):
            place = np.asarray(position, float)
            place = place + along_row * SPACING[1] * column + along_column * SPACING[0] * row
            value = np.float32(values[row, column] * slope + intercept)
            (voxel,) = np.argwhere(voxels == value)
            found = (image.affine @ [*voxel, 1])[:3]
            np.testing.assert_allclose(found, place * (-1, -1, 1), atol=1e-4)


@pytest.mark.parametrize(
    ("directions", "slant", "tags"),
    [
        (AXIAL, (0, 0, 0), {}),
        (AXIAL, (0, 0, 0), {"RescaleSlope": "2", "RescaleIntercept": "-1024"}),
        (SAGITTAL, (0, 0, 0), {"RescaleSlope": "0.25", "RescaleIntercept": "0.5"}),
        (OBLIQUE, (0, 0, 0), {}),
        (AXIAL, TILTED, {}),
    ],
    ids=["axial", "rescaled", "sagittal", "oblique", "tilted"],
)
def test_pixel_positions_follow_the_dicom_formula(tmp_path, directions, slant, tags):
    stored = all_different()
    positions = positions_of(directions, slant=slant)
    write_series(tmp_path, stored, directions, positions, **tags)
    image = open_volume(tmp_path)
    slope = float(tags.get("RescaleSlope", 1)), float(tags.get("RescaleIntercept", 0))
    check_places(image, stored, positions, directions, *slope)
    codes = int(image.header["sform_code"]), int(image.header["qform_code"])
    assert codes == ((1, 0) if any(slant) else (1, 1))
    if not any(slant):
        np.testing.assert_allclose(image.get_qform(), image.affine, atol=1e-3)
        np.testing.assert_allclose(image.header.get_zooms(), (*SPACING[::-1], 2.5), atol=1e-5)
    # As predict reads it: k grows along the normal.
    np.testing.assert_array_equal(
        read_slice(tmp_path, 2, 4), np.float32(stored[4].T * slope[0] + slope[1])
    )


def test_volume_equals_that_of_itk(tmp_path):
    itk = pytest.importorskip("SimpleITK", reason="the extra dev leaves its 50 MB out")
    for name, directions in {"axial": AXIAL, "sagittal": SAGITTAL, "oblique": OBLIQUE}.items():
        tags = {"RescaleSlope": "2", "RescaleIntercept": "-10"}
        write_series(tmp_path / name, all_different(), directions, **tags)
        reader = itk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / name)))
        itk.WriteImage(reader.Execute(), str(tmp_path / "itk.nii.gz"))
        itks, ours = nibabel.load(tmp_path / "itk.nii.gz"), open_volume(tmp_path / name)
        np.testing.assert_allclose(ours.affine, itks.affine, atol=1e-5)
        np.testing.assert_array_equal(np.asarray(ours.dataobj), itks.get_fdata())


def test_scale_is_read_for_each_slice(tmp_path):
    stored = all_different(3)
    paths = write_series(tmp_path, stored)
    for path, slope in zip(paths, (1, 3, 0.5), strict=True):
        data = pydicom.dcmread(path)
        data.RescaleSlope, data.RescaleIntercept = str(slope), "7"
        data.save_as(path)
    voxels = np.asarray(open_volume(tmp_path).dataobj)
    expected = stored * np.asarray([1, 3, 0.5])[:, None, None] + 7
    np.testing.assert_array_equal(voxels, expected.transpose(2, 1, 0))
    assert percentiles(tmp_path) == pytest.approx(np.percentile(expected, (0.5, 99.5)), rel=1e-6)


@pytest.mark.parametrize(("dtype", "ends"), [(np.uint16, (0, 4095)), (np.int16, (-2048, 2047))])
def test_white_is_high(tmp_path, dtype, ends):
    stored = np.array([[ends[0], 5, ends[1]]], dtype)
    data = image_of(stored, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    data.RescaleSlope, data.RescaleIntercept = "2", "1"
    image = open_volume(save(tmp_path / "xray", data))
    expected = np.array([ends[1], ends[0] + ends[1] - 5, ends[0]]) * 2 + 1
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, 0, 0], expected)


def test_lookup_table_is_applied(tmp_path):
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [4, 0, 16])
    table.add_new("LUTData", "US", [100, 300, 200, 900])
    data = image_of(np.array([[3, 0, 1]], np.uint16), ModalityLUTSequence=[table])
    voxels = np.asarray(open_volume(save(tmp_path / "a.dcm", data)).dataobj)
    np.testing.assert_array_equal(voxels[:, 0, 0], [900, 100, 300])


def many_frames(stored, directions, positions):
    """An enhanced CT: positions and scales for each frame, orientation and spacing for all."""

    def group(**sequences):
        found = pydicom.Dataset()
        for name, tags in sequences.items():
            item = pydicom.Dataset()
            for key, value in tags.items():
                setattr(item, key, value)
            setattr(found, name, [item])
        return found

    data = image_of(stored)
    data.SharedFunctionalGroupsSequence = [
        group(
            PlaneOrientationSequence={"ImageOrientationPatient": numbers(directions)},
            PixelMeasuresSequence={"PixelSpacing": numbers(SPACING), "SliceThickness": "9"},
        )
    ]
    data.PerFrameFunctionalGroupsSequence = [
        group(
            PlanePositionSequence={"ImagePositionPatient": numbers(position)},
            PixelValueTransformationSequence={"RescaleSlope": "4", "RescaleIntercept": "-8"},
        )
        for position in positions
    ]
    return data


def test_frames_of_one_file_are_slices(tmp_path):
    stored = all_different()
    positions = positions_of(OBLIQUE)
    order = [3, 0, 5, 1, 4, 2]
    data = many_frames(stored[order], OBLIQUE, positions[order])
    image = open_volume(save(tmp_path / "enhanced.dcm", data))
    check_places(image, stored, positions, OBLIQUE, 4, -8)


def test_volume_without_positions_has_unknown_orientation(tmp_path):
    stored = all_different()
    data = image_of(stored, PixelSpacing=numbers(SPACING), SpacingBetweenSlices="3")
    image = open_volume(save(tmp_path / "frames.dcm", data))
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (0, 0)
    np.testing.assert_allclose(image.header.get_zooms(), (0.5, 0.8, 3))
    np.testing.assert_array_equal(np.asarray(image.dataobj), stored.transpose(2, 1, 0))


def test_dicom_files_are_detected_by_content(tmp_path):
    (path, *_) = write_series(tmp_path / "series", all_different(2))
    assert open_volume(path).shape == (5, 7, 1)
    (tmp_path / "notes").write_bytes(b"text" * 99)
    assert is_volume(path)
    assert not is_volume(tmp_path / "notes")
    # Other files beside a series: a picture, a note, the index of a disc.
    (tmp_path / "series" / "README").write_text("of the scanner")
    (tmp_path / "series" / "thumb.png").write_bytes(path.read_bytes())
    (tmp_path / "series" / "._IM0001.dcm").write_bytes(b"left by a system")
    index = image_of(all_different(1)[0])
    for key in ("Rows", "Columns", "PixelData"):
        del index[key]
    index.SOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    save(tmp_path / "series" / "DICOMDIR", index)
    assert open_volume(tmp_path / "series").shape == (5, 7, 2)


def test_series_is_chosen_by_its_uid(tmp_path):
    first, second = all_different(4), all_different(3) + 500
    write_series(tmp_path / "a", first, uid="1.2.3", SeriesDescription="axial")
    for path in write_series(tmp_path / "b", second, uid="1.2.4"):
        path.rename(tmp_path / "a" / f"more{path.name}")
    with pytest.raises(UserError) as error:
        open_volume(tmp_path / "a")
    assert "holds 2 series: 1.2.3 (4 files, axial); 1.2.4 (3 files). Give one as" in str(
        error.value
    )
    assert open_volume(tmp_path / "a" / "1.2.4").shape == (5, 7, 3)
    assert np.asarray(open_volume(tmp_path / "a" / "1.2.3").dataobj).max() < 400
    with pytest.raises(UserError, match=r"holds no series 1\.2\.5; valid: 1\.2\.3 \(4 files"):
        open_volume(tmp_path / "a" / "1.2.5")


def assert_error(source, *words):
    with pytest.raises(UserError) as error:
        open_volume(source)
    assert "\n" not in str(error.value)
    for word in words:
        assert str(word) in str(error.value)


def test_slices_that_form_no_volume_are_refused(tmp_path):
    stored = all_different()

    def write(name, **changes):
        return write_series(tmp_path / name, stored, **changes)

    paths = write("missing")
    paths[3].unlink()
    assert_error(
        tmp_path / "missing", paths[4], "lies 5 mm after", paths[2].name, "others", "2.5 mm"
    )
    uneven = positions_of(AXIAL)
    uneven[-1, 2] += 1
    refused_path = write("uneven", positions=uneven)[-1]
    assert_error(tmp_path / "uneven", refused_path, "lies 3.5 mm after")
    twice = positions_of(AXIAL)
    twice[4] = twice[3]
    write("twice", positions=twice)
    assert_error(tmp_path / "twice", "has the position of", "several volumes")
    beside = positions_of(AXIAL)
    beside[2, 0] += 3
    refused_path = write("beside", positions=beside)[2]
    assert_error(tmp_path / "beside", refused_path, "lies beside the line")

    for name, change, words in (
        ("size", {"Rows": 5, "Columns": 7}, "has 7x5 pixels, and"),
        ("turned", {"ImageOrientationPatient": numbers(SAGITTAL)}, "lies in another direction"),
        ("spacing", {"PixelSpacing": ["2", "2"]}, "has the PixelSpacing (2.0, 2.0), and"),
        ("nowhere", {"ImagePositionPatient": None}, "has no ImagePositionPatient"),
    ):
        path = write(name)[1]
        data = pydicom.dcmread(path)
        for key, value in change.items():
            setattr(data, key, value)
        data.save_as(path)
        assert_error(tmp_path / name, "IM000", words)


def test_files_other_than_grey_images_are_refused(tmp_path, monkeypatch):
    values = all_different(1)[0]
    grey = image_of(values)
    whole = save(tmp_path / "whole.dcm", grey).read_bytes()

    def written(name, content):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    sizes = {100: "is not a DICOM file", len(whole) - 9: "bytes of pixel data is less"}
    for size, words in sizes.items():
        assert_error(written(f"cut{size}.dcm", whole[:size]), f"cut{size}.dcm: ", words)
    at_rows = whole.index(b"\x28\x00\x10\x00")
    assert_error(written("header.dcm", whole[:at_rows]), "header.dcm: was cut off")
    assert_error(written("meta.dcm", whole[:200]), "meta.dcm: ")
    assert_error(
        written("text.dcm", b"text\n" * 99), "text.dcm: is not a DICOM file: there is no DICM"
    )
    grey.NumberOfFrames = 2**31 - 1
    assert_error(save(tmp_path / "bomb.dcm", grey), "bomb.dcm: was cut off: its pixels take 1503")
    del grey.NumberOfFrames
    rgb = image_of(values.view(np.uint8)[:, :9].reshape(7, 9), Columns=3, SamplesPerPixel=3)
    rgb.PhotometricInterpretation, rgb.PlanarConfiguration = "RGB", 0
    assert_error(save(tmp_path / "rgb.dcm", rgb), "rgb.dcm: is a colour image (RGB)")
    grey.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    grey.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xf7"])
    grey["PixelData"].VR = "OB"
    path = save(tmp_path / "jpegls.dcm", grey)
    from pydicom.pixels import decoders

    monkeypatch.setattr(decoders.JPEGLSLosslessDecoder, "_available", {})
    monkeypatch.setattr(decoders.JPEGLSLosslessDecoder, "_unavailable", {"gdcm": ("gdcm>=3",)})
    assert_error(path, "jpegls.dcm: is stored as JPEG-LS Lossless", "pip install python-gdcm")
    grey.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    assert_error(save(tmp_path / "film.dcm", grey), "film.dcm: is stored as MPEG2", "not supported")
    (tmp_path / "empty").mkdir()
    assert_error(tmp_path / "empty", "empty: holds no DICOM file")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert_error(path, "jpegls.dcm: reading it needs pydicom: pip install 'fcnjax[medical]'")


def test_lossless_compression_keeps_the_values(tmp_path):
    data = image_of(all_different(1)[0])
    plain = np.asarray(open_volume(save(tmp_path / "plain.dcm", data)).dataobj)
    data.compress(pydicom.uid.RLELossless)
    packed = open_volume(save(tmp_path / "packed.dcm", data))
    np.testing.assert_array_equal(np.asarray(packed.dataobj), plain)
