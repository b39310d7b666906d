"""The table of sources. A new one is a module here and a row of `SOURCES`."""

from collections.abc import Mapping

from fcnjax.data.layout import Layout
from fcnjax.data.sources import folder, geotiff, hf, listing, nifti, samples, tfds
from fcnjax.data.sources.annotation_tools import coco, cvat, labelme, labelstudio, via
from fcnjax.data.sources.benchmarks import ade20k, camvid, celebamask, cityscapes, voc

SOURCES: Mapping[str, Layout] = {
    "folder": folder.LAYOUT,
    "listing": listing.LAYOUT,
    "coco": coco.LAYOUT,
    "labelme": labelme.LAYOUT,
    "cvat": cvat.LAYOUT,
    "labelstudio": labelstudio.LAYOUT,
    "via": via.LAYOUT,
    "voc": voc.LAYOUT,
    "cityscapes": cityscapes.LAYOUT,
    "camvid": camvid.LAYOUT,
    "ade20k": ade20k.LAYOUT,
    "celebamask": celebamask.LAYOUT,
    "tfds": tfds.LAYOUT,
    "hf": hf.LAYOUT,
    "geotiff": geotiff.LAYOUT,
    "nifti": nifti.LAYOUT,
    **{name: samples.layout(name) for name in samples.SAMPLES},
}
