"""The layouts that sets of labelled images have; a new one is a file here and a row below."""

from collections.abc import Mapping

from fcnjax.data.layout import Layout
from fcnjax.data.sources import folder, samples

SOURCES: Mapping[str, Layout] = {
    "folder": folder.LAYOUT,
    **{name: samples.layout(name) for name in samples.SAMPLES},
}
