"""Images and masks in two folders, paired by file name without suffix."""

from ml_collections import ConfigDict

from fcnjax.data.classes import find_classes
from fcnjax.data.layout import Layout, require_root
from fcnjax.data.mask_exif import resolve_mask_exif
from fcnjax.data.mask_set import mask_set
from fcnjax.data.pairs import PairSource, check_sizes
from fcnjax.data.skipping import skips
from fcnjax.data.splits import divide


def _resolve(config: ConfigDict) -> list[str]:
    data = config.data
    pairs = divide(data)
    require_root(data)
    everything = [pair for part in pairs.values() for pair in part]
    turned = resolve_mask_exif(data, everything)
    if not skips(data):  # else it is left to reading
        check_sizes(everything, data.mask_exif)
    note = f"{data.root}: {len(pairs['train'])} images to train on, {len(pairs['eval'])} held out"
    notes = [note + find_classes(data, mask_set(everything)), *turned]
    both = len(set(pairs["train"]) & set(pairs["eval"]))
    if both:
        notes.append(f"{data.root}: {both} images are in both splits: the score will flatter")
    return notes


LAYOUT = Layout(
    "two folders, config.data.images and .masks, files paired by name",
    _resolve,
    lambda config, part: PairSource(divide(config.data)[part], config.data),
    divides=True,
)
