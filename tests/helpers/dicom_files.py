"""DICOM files to read, made with pydicom."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

AXIAL = ((1, 0, 0), (0, 1, 0))
SAGITTAL = ((0, 1, 0), (0, 0, -1))
SPACING = (0.8, 0.5)  # from row to row, and from column to column


def turned(*angles):
    """Directions of rows and columns that lie in no plane of the body."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        one, other = [(1, 2), (2, 0), (0, 1)][axis]
        turn[one, one] = turn[other, other] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix[:, 0], matrix[:, 1]


def numbers(values):
    """As DICOM stores decimals: at most 16 letters each."""
    return [DSfloat(float(value), auto_format=True) for value in np.ravel(values)]


def image_of(stored, **tags):
    """A dataset of an image of stored values `[H, W]` or `[F, H, W]`; `tags` by keyword."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        data.NumberOfFrames = len(stored)
    data.BitsAllocated = data.BitsStored = stored.dtype.itemsize * 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    for key, value in tags.items():
        setattr(data, key, value)
    return data


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def positions_of(directions, count=6, gap=2.5, first=(-30.5, 12.25, 100), slant=(0, 0, 0)):
    """Places of slices along the normal, `[N, 3]`; `slant` moves each by so much more."""
    normal = np.cross(*directions)
    return np.asarray(first) + np.arange(count)[:, None] * (gap * normal + np.asarray(slant))


def write_series(folder, stored, directions=AXIAL, positions=None, uid=None, **tags):
    """Writes slices `[N, H, W]`, whose files' names and numbers say nothing of their order.

    Returns:
        Of each slice its file, in the order of `stored`.
    """
    positions = positions_of(directions, len(stored)) if positions is None else positions
    uid = uid or generate_uid()
    order = np.random.default_rng(3).permutation(len(stored))
    paths = []
    for number, (values, position) in enumerate(zip(stored, positions, strict=True)):
        data = image_of(
            values,
            SeriesInstanceUID=uid,
            InstanceNumber=int(order[number]),
            ImageOrientationPatient=numbers(directions),
            ImagePositionPatient=numbers(position),
            PixelSpacing=numbers(SPACING),
            **tags,
        )
        paths.append(save(folder / f"IM{order[number]:04}", data))
    return paths
