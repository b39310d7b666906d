"""Tells how the names of masks differ from those of their images, where they do not pair."""

from collections.abc import Collection, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.file_names import normalize_name
from fcnjax.data.pairs import Pair
from fcnjax.data.readers.decode import IMAGE_SUFFIXES
from fcnjax.data.splits.folders import MASK_ENDS
from fcnjax.validate.findings import ERROR, Finding


def affixes(images: Collection[str], masks: Collection[str]) -> tuple[str, str]:
    """What the names of all masks have before and after those of their images.

    Returns:
        `("", "_mask")` for `a_mask` of `a`; two empty strings where nothing makes them pair.
    """
    stem = min(images, default="")
    for mask in sorted(masks) if stem else ():
        before, found, after = mask.partition(stem)
        if found and {f"{before}{name}{after}" for name in images} == set(masks):
            return before, after
    return "", ""


def pairs_by_name(data: ConfigDict) -> tuple[dict[str, list[Pair]], list[Finding]]:
    """The pairs that can be made of a folder whose files do not all pair, to be looked at.

    Args:
        data: `config.data`.

    Returns:
        All of them as `train`; and a finding where masks have another name by rule.
    """
    images = _by_place(Path(data.root), data.images, IMAGE_SUFFIXES)
    masks = _by_place(Path(data.root), data.masks, frozenset(MASK_ENDS))
    pairs, findings = [], []
    for place, found in images.items():
        beside = masks.get(place, {})
        before, after = affixes(found.keys(), beside.keys())
        pairs += [
            (path, beside[name])
            for stem, path in found.items()
            if (name := f"{before}{stem}{after}") in beside
        ]
        if (before, after) not in (("", ""), ("", data.mask_suffix)) and not findings:
            stem = next(iter(found))
            text = (
                f"masks have other names than their images, by rule: {found[stem].name} and "
                f"{beside[f'{before}{stem}{after}'].name}"
            )
            words = (f"--config.data.mask_suffix={after}",)
            if before:
                words = ()
                text += (
                    "; rename them alike, or list the pairs in a file (config.data.source=listing)"
                )
            findings.append(Finding(ERROR, "names", text, words))
    return {"train": pairs, "eval": []}, findings


def _by_place(root: Path, kind: str, valid: frozenset[str]) -> Mapping[str, dict[str, Path]]:
    """The files below folders of the name `kind`, by split, and by name without ending."""
    found: dict[str, dict[str, Path]] = {}
    for folder in (root / kind, *sorted(root.glob(f"*/{kind}"))):
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in valid and not path.name.startswith("."):
                inner = path.parent.relative_to(folder)
                place = str(folder.parent.relative_to(root) / inner)
                found.setdefault(place, {})[normalize_name(path.stem)] = path
    return found
