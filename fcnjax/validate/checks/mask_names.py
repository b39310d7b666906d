"""Pairs of images and masks whose names differ by a fixed prefix or suffix."""

from collections.abc import Collection, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folders import normalize_name
from fcnjax.data.pairs import Pair
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.splits.folders import MASK_ENDS
from fcnjax.validate.findings import ERROR, Finding


def find_affixes(images: Collection[str], masks: Collection[str]) -> tuple[str, str]:
    """Return what the names of all masks have before and after those of their images.

    Returns:
        `("", "_mask")` for `a_mask` of `a`; two empty strings if no prefix and suffix pair them.
    """
    stem = min(images, default="")
    for mask in sorted(masks) if stem else ():
        before, match, after = mask.partition(stem)
        if match and {f"{before}{name}{after}" for name in images} == set(masks):
            return before, after
    return "", ""


def pair_by_affix(data: ConfigDict) -> tuple[dict[str, list[Pair]], list[Finding]]:
    """Pair what can be paired in a folder whose files do not all pair.

    Args:
        data: `config.data`.

    Returns:
        All pairs, as `train`, and a finding if the names of masks have a prefix or suffix.
    """
    images = _files_by_folder(Path(data.root), data.images, IMAGE_SUFFIXES)
    masks = _files_by_folder(Path(data.root), data.masks, frozenset(MASK_ENDS))
    pairs, findings = [], []
    for folder, image_files in images.items():
        mask_files = masks.get(folder, {})
        before, after = find_affixes(image_files.keys(), mask_files.keys())
        pairs += [
            (path, mask_files[name])
            for stem, path in image_files.items()
            if (name := f"{before}{stem}{after}") in mask_files
        ]
        if (before, after) not in (("", ""), ("", data.mask_suffix)) and not findings:
            stem = next(iter(image_files))
            names = f"{image_files[stem].name} and {mask_files[f'{before}{stem}{after}'].name}"
            text = f"the names of masks follow another rule than those of their images: {names}"
            overrides = (f"--config.data.mask_suffix={after}",)
            if before:
                overrides = ()
                text += (
                    "; give both the same names, or list the pairs in a file "
                    "(config.data.source=listing)"
                )
            findings.append(Finding(ERROR, "names", text, overrides))
    return {"train": pairs, "eval": []}, findings


def _files_by_folder(
    root: Path, kind: str, suffixes: frozenset[str]
) -> Mapping[str, dict[str, Path]]:
    """Return the files below folders named `kind`, by split, and by name without its ending."""
    files: dict[str, dict[str, Path]] = {}
    for folder in (root / kind, *sorted(root.glob(f"*/{kind}"))):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in suffixes and not path.name.startswith("."):
                inner = path.parent.relative_to(folder)
                folder_name = str(folder.parent.relative_to(root) / inner)
                files.setdefault(folder_name, {})[normalize_name(path.stem)] = path
    return files
