"""The layouts that sets of labelled images have; a new one is a file here and a row below."""

from collections.abc import Mapping

from fcnjax.data.layout import Layout
from fcnjax.data.sources import (
    ade20k,
    camvid,
    celebamask,
    cityscapes,
    folder,
    geotiff,
    hf,
    listing,
    nifti,
    samples,
    tfds,
    voc,
)
from fcnjax.data.sources.annotation_tools import coco, cvat, labelme, labelstudio, via

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
