"""`torchvision://MODEL/WEIGHTS`: the published weights of torchvision, by its names."""

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from fcnjax.errors import UserError, choose
from fcnjax.io.atomic_files import atomic, sha256
from fcnjax.io.lock_file import locked
from fcnjax.io.progress import download_bar
from fcnjax.models.pretrained.sources.weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Weights,
    weights_folder,
)

SCHEME = "torchvision://"
BASE_URL = "https://download.pytorch.org/models/"
TIMEOUT = 30  # seconds without a byte
_CHUNK = 2**20
_MAX_BYTES = 2**30  # the largest of the files, of VGG19, has 575 MB
_VOC = "COCO_WITH_VOC_LABELS_V1"
_V1, _V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"


def _v2(new: str, old: str) -> dict[str, str]:
    return {_V2: new, _V1: old}


# By model and weights, torchvision's default first, from the source of torchvision 0.28. The end of
# a file's name is the beginning of its SHA-256.
FILES: Mapping[str, Mapping[str, str]] = {
    "vgg11": {_V1: "vgg11-8a719046.pth"},
    "vgg11_bn": {_V1: "vgg11_bn-6002323d.pth"},
    "vgg13": {_V1: "vgg13-19584684.pth"},
    "vgg13_bn": {_V1: "vgg13_bn-abd245e5.pth"},
    "vgg16": {
        _V1: "vgg16-397923af.pth",
        "IMAGENET1K_FEATURES": "vgg16_features-amdegroot-88682ab5.pth",
    },
    "vgg16_bn": {_V1: "vgg16_bn-6c64b313.pth"},
    "vgg19": {_V1: "vgg19-dcbb9e9d.pth"},
    "vgg19_bn": {_V1: "vgg19_bn-c79401a0.pth"},
    "resnet18": {_V1: "resnet18-f37072fd.pth"},
    "resnet34": {_V1: "resnet34-b627a593.pth"},
    "resnet50": _v2("resnet50-11ad3fa6.pth", "resnet50-0676ba61.pth"),
    "resnet101": _v2("resnet101-cd907fc2.pth", "resnet101-63fe2227.pth"),
    "resnet152": _v2("resnet152-f82ba261.pth", "resnet152-394f9c45.pth"),
    "resnext50_32x4d": _v2("resnext50_32x4d-1a0047aa.pth", "resnext50_32x4d-7cdf4587.pth"),
    "resnext101_32x8d": _v2("resnext101_32x8d-110c445d.pth", "resnext101_32x8d-8ba56ff5.pth"),
    "wide_resnet50_2": _v2("wide_resnet50_2-9ba9bcbe.pth", "wide_resnet50_2-95faca4d.pth"),
    "densenet121": {_V1: "densenet121-a639ec97.pth"},
    "densenet169": {_V1: "densenet169-b2777c0a.pth"},
    "convnext_tiny": {_V1: "convnext_tiny-983f1562.pth"},
    "convnext_small": {_V1: "convnext_small-0c510722.pth"},
    "convnext_base": {_V1: "convnext_base-6075fbad.pth"},
    "convnext_large": {_V1: "convnext_large-ea097f82.pth"},
    "mobilenet_v2": _v2("mobilenet_v2-7ebf99e0.pth", "mobilenet_v2-b0353104.pth"),
    "mobilenet_v3_small": {_V1: "mobilenet_v3_small-047dcff4.pth"},
    "mobilenet_v3_large": _v2("mobilenet_v3_large-5c1a4163.pth", "mobilenet_v3_large-8738ca79.pth"),
    "efficientnet_b0": {_V1: "efficientnet_b0_rwightman-7f5810bc.pth"},
    "efficientnet_b1": _v2(
        "efficientnet_b1-c27df63c.pth", "efficientnet_b1_rwightman-bac287d4.pth"
    ),
    "efficientnet_b2": {_V1: "efficientnet_b2_rwightman-c35c1473.pth"},
    "efficientnet_b3": {_V1: "efficientnet_b3_rwightman-b3899882.pth"},
    "efficientnet_b4": {_V1: "efficientnet_b4_rwightman-23ab8bcd.pth"},
    "efficientnet_b5": {_V1: "efficientnet_b5_lukemelas-1a07897c.pth"},
    "efficientnet_b6": {_V1: "efficientnet_b6_lukemelas-24a108a5.pth"},
    "efficientnet_b7": {_V1: "efficientnet_b7_lukemelas-c5b4e57e.pth"},
    "fcn_resnet50": {_VOC: "fcn_resnet50_coco-1167a1af.pth"},
    "fcn_resnet101": {_VOC: "fcn_resnet101_coco-7ecb50ca.pth"},
    "deeplabv3_resnet50": {_VOC: "deeplabv3_resnet50_coco-cd0a2569.pth"},
    "deeplabv3_resnet101": {_VOC: "deeplabv3_resnet101_coco-586e9e4e.pth"},
    "deeplabv3_mobilenet_v3_large": {_VOC: "deeplabv3_mobilenet_v3_large-fc3c493d.pth"},
    "lraspp_mobilenet_v3_large": {_VOC: "lraspp_mobilenet_v3_large-d234d4ea.pth"},
}
# Weights that were not trained with ImageNet's usual normalisation.
_NORMALISATION = {("vgg16", "IMAGENET1K_FEATURES"): ((0.48235, 0.45882, 0.40784), (1 / 255,) * 3)}


def fetch_torchvision(source: str, log: Callable[[str], None]) -> Weights:
    """Download the file of `torchvision://MODEL/WEIGHTS`, unless it is in the cache.

    `WEIGHTS` may be `DEFAULT`. The file's hash is checked, even if it was put there by hand.

    Raises:
        UserError: An unknown name, no network, or a file with another hash.
    """
    model, _, name = source.removeprefix(SCHEME).partition("/")
    files = choose(FILES, model, "torchvision://")
    if name == "DEFAULT":
        name = next(iter(files))
    if name not in files:
        valid = ", ".join(f"torchvision://{model}/{weights}" for weights in (*files, "DEFAULT"))
        raise UserError(f"{source}: unknown weights; valid: {valid}")
    path = weights_folder() / files[name]
    with locked(path):
        if not path.is_file():
            _download(path, log)
        if not sha256(path).startswith(_hash_prefix(path.name)):
            raise UserError(
                f"{path}: is damaged or another file: its SHA-256 does not begin with "
                f"{_hash_prefix(path.name)}, as in its name; delete it to download it again"
            )
    mean, std = _NORMALISATION.get((model, name), (IMAGENET_MEAN, IMAGENET_STD))
    return Weights(source, path, mean=mean, std=std)


def _hash_prefix(name: str) -> str:
    return re.search(r"-([0-9a-f]{8,})\.\w+$", name)[1]


def _download(path: Path, log: Callable[[str], None]) -> None:
    """Download and check the file, atomically."""
    url = f"{BASE_URL}{path.name}"
    for stale in path.parent.glob(f".{path.stem}-*{path.suffix}"):
        stale.unlink(missing_ok=True)  # left by a killed download
    log(f"fetching {url}")
    with atomic(path) as temporary:
        with temporary.open("wb") as file:
            for chunk in _chunks(url, path):
                file.write(chunk)
        if not sha256(temporary).startswith(_hash_prefix(path.name)):
            raise UserError(
                f"{url}: the download is not the expected file (its SHA-256 does not begin with "
                f"{_hash_prefix(path.name)}), and was deleted"
            )


def _chunks(url: str, path: Path) -> Iterator[bytes]:
    """Yield the content of a URL in chunks.

    Raises:
        UserError: No network, no such file, or an incomplete download; says what to do.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response, download_bar() as progress:
            length = response.headers.get("Content-Length")
            total, count = int(length) if length else None, 0
            task = progress.add_task(path.name, total=total)
            while chunk := response.read(_CHUNK):
                yield chunk
                count += len(chunk)
                if count > _MAX_BYTES:
                    raise EOFError(f"it is larger than {_MAX_BYTES} bytes")
                progress.update(task, completed=count)
        if total is not None and count < total:
            raise EOFError(f"incomplete after {count} of {total} bytes")
    except (OSError, http.client.HTTPException, EOFError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise UserError(
            f"{url}: cannot be downloaded ({_reason(error)}); download it by hand to "
            f"{path}, where it is found and checked"
        ) from error


def _reason(error: Exception) -> str:
    """Return one line on why a download failed."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else error
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
