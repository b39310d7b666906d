"""Images and masks in two folders, paired by file name without suffix."""

from pathlib import Path

from ml_collections import ConfigDict

from fcnjax.data.files.folder_files import files_below
from fcnjax.data.labels.classes import find_classes
from fcnjax.data.labels.mask_exif import resolve_mask_exif
from fcnjax.data.labels.mask_set import mask_set
from fcnjax.data.layout import Layout, require_root
from fcnjax.data.loading.skipping import skips
from fcnjax.data.pairs import PairSource, check_sizes
from fcnjax.data.splits.folders import IMAGE_ENDS, divide, split_method, stem_of


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    pairs = divide(data)
    folder = require_root(data) / data.images
    everything = [pair for part in pairs.values() for pair in part]
    turned = resolve_mask_exif(data, everything)
    if not skips(data):  # else it is left to reading
        check_sizes(everything, data.mask_exif)
    note = f"{data.root}: {len(pairs['train'])} images to train on, {len(pairs['eval'])} held out"
    below = sum(image.parent.absolute() != folder for image, _ in everything)
    if below and split_method(data) != "folder":
        note += f" ({below} of them in subfolders)"
    notes = [note + find_classes(data, mask_set(everything)), *turned]
    if unused := _unused(data, {image.absolute() for image, _ in everything}):
        notes.append(f"{data.root}: {unused} images are in neither split, and are not used")
    both = len(set(pairs["train"]) & set(pairs["eval"]))
    if both:
        notes.append(f"{data.root}: {both} images are in both splits: the score will flatter")
    return notes


def _unused(data: ConfigDict, used: set[Path]) -> int:
    """Count the images that lie beside those of the splits, where lists or folders divide them."""
    if split_method(data) == "fraction":
        return 0
    root = Path(data.root)
    masks = [root / data.masks, *root.glob(f"*/{data.masks}")]
    beside = {
        path
        for folder in (root / data.images, *root.glob(f"*/{data.images}"))
        if folder.is_dir()
        for path in files_below(folder, IMAGE_ENDS, excluded=masks)
        if not stem_of(path.name, IMAGE_ENDS).endswith(data.mask_suffix or "/")
    }
    return len(beside - used)


LAYOUT = Layout(
    "two folders, config.data.images and .masks, files paired by name",
    _resolve,
    lambda config, part: PairSource(divide(config.data)[part], config.data),
    divides=True,
)
