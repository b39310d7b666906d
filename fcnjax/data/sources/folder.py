"""Images and masks in two folders, paired by file name without suffix."""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folders import files_below
from fcnjax.data.layout import Layout, require_root, resolve_pairs
from fcnjax.data.pairs import PairSource
from fcnjax.data.splits.folders import IMAGE_ENDS, divide, split_method, stem_of


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    parts = divide(data)
    folder = require_root(data) / data.images
    images = [image.absolute() for pairs in parts.values() for image, _ in pairs]
    in_subfolders = sum(image.parent != folder for image in images)
    detail = ""
    if in_subfolders and split_method(data) != "folder":
        detail = f" ({in_subfolders} of them in subfolders)"
    notes = resolve_pairs(data, parts, data.root, detail=detail)
    if unused := _count_unused(data, set(images)):
        notes.append(f"{data.root}: {unused} images are in neither split, and are not used")
    return notes


def _count_unused(data: ConfigDict, used: set[Path]) -> int:
    """Count the images that lists or folders of splits leave out."""
    if split_method(data) == "fraction":
        return 0
    root = Path(data.root)
    masks = [root / data.masks, *root.glob(f"*/{data.masks}")]
    images = {
        path
        for folder in (root / data.images, *root.glob(f"*/{data.images}"))
        if folder.is_dir()
        for path in files_below(folder, IMAGE_ENDS, excluded=masks)
        if not stem_of(path.name, IMAGE_ENDS).endswith(data.mask_suffix or "/")
    }
    return len(images - used)


LAYOUT = Layout(
    "two folders, config.data.images and .masks, with files paired by name",
    _resolve,
    lambda config, part: PairSource(divide(config.data)[part], config.data),
    can_split=True,
)
