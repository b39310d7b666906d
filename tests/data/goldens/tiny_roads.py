"""Prepares the set of `tiny_roads.zip`, with TensorFlow: python tests/data/goldens/tiny_roads.py.

Five examples to train on and three to test on, in two shards each, of pixels that
`tests/data/test_tfds.py` computes again.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds


class TinyRoads(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(names=["town", "country"]),
                    "file_name": tfds.features.Text(),
                    "segmentation_mask": tfds.features.LabeledImage(
                        labels=["field", "road", "car"]
                    ),
                    "boxes": tfds.features.Sequence(tfds.features.BBoxFeature()),
                }
            ),
        )

    def _split_generators(self, dl_manager):
        del dl_manager
        return {"train": self._generate_examples(0, 5), "test": self._generate_examples(5, 8)}

    def _generate_examples(self, first, last):
        for i in range(first, last):
            ys, xs = np.mgrid[: 12 + i, : 10 + i % 2]
            yield (
                i,
                {
                    "image": np.stack([ys * 9 + i, xs * 7, (ys + xs) * 5], -1).astype(np.uint8),
                    "label": i % 2,
                    "file_name": f"road{i}.jpg",
                    "segmentation_mask": ((ys // 3 + xs // 4 + i) % 3).astype(np.uint8)[..., None],
                    "boxes": [tfds.features.BBox(0.0, 0.0, 0.5, 0.5)] * (i % 3),
                },
            )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        builder = TinyRoads(data_dir=folder, file_format="array_record")
        settings = tfds.download.DownloadConfig(num_shards=2)
        builder.download_and_prepare(download_config=settings)
        archive = Path(sys.argv[0]).with_suffix("")
        shutil.make_archive(str(archive), "zip", folder, "tiny_roads")
