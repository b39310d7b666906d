"""TensorFlow Datasets, prepared as ArrayRecord files and read without TensorFlow.

`config.data.name` is the name of the dataset, as `oxford_iiit_pet` or `NAME/CONFIG:VERSION`.
`config.data.root` is the folder of such datasets (by default the library's), or that of one.
Splits are the library's expressions, as `train[:80%]`. `fcnjax data prepare NAME` prepares a
dataset.
"""

import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from ml_collections import ConfigDict

from fcnjax.data.layout import PARTS, require_root
from fcnjax.data.readers.decode import Encoded
from fcnjax.data.records import (
    Record,
    check_split,
    choose_column,
    first_line,
    record_layout,
    split_error,
)
from fcnjax.errors import UserError

# Classes of datasets whose features do not state them.
CLASSES = MappingProxyType(
    {
        # README of the trimaps: 1 foreground, 2 background, 3 not classified (the border).
        "oxford_iiit_pet": {
            "labels.mask_values": (1, 2, 3),
            "class_names": ("foreground", "background", "border"),
        },
    }
)


class TfdsRecords:
    """The records of a split.

    Args:
        builder: The `tfds.core.DatasetBuilder`.
        split: A split expression.
        images: The feature of the image.
        masks: The feature of the mask.
    """

    def __init__(self, builder: Any, split: str, images: str, masks: str):
        instructions = builder.info.splits[split].file_instructions
        self.files = tuple(Path(part.filename) for part in instructions)
        self.span_files = tuple((file,) for file in self.files)
        self.spans = tuple(
            (str(part.filename), part.skip, part.skip + part.take) for part in instructions
        )
        self._name = builder.info.full_name
        self._split = split
        self._images = images
        self._masks = masks
        # The library raises an error for an empty split.
        self._source = _raw_images(builder, split) if instructions else ()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Record:
        index = range(len(self))[index]
        where = f"{self._name}, {self._split}, example {index}"
        try:
            example = self._source[index]
        except Exception as error:  # the reader of each format raises its own types
            raise UserError(f"{where}: cannot be read: {first_line(error)}") from error
        image, mask = (
            Encoded(example[name], f"{where}, {name}", self._name)
            for name in (self._images, self._masks)
        )
        return Record(image, mask, _stem(example) or f"{self._split} {index}")


def _raw_images(builder: Any, split: str) -> Any:
    """Return the library's source of a split, with images as the bytes of their files."""
    features = builder.info.features
    skip = _library().decode.SkipDecoding()
    return builder.as_data_source(split, decoders=dict.fromkeys(_image_features(features), skip))


def _stem(example: Mapping[str, Any]) -> str:
    """Return the name of the file from which an example was made; "" if it is not stored."""
    name = example.get("file_name", b"")
    return Path(name.decode(errors="replace")).stem if isinstance(name, bytes) else ""


def _library() -> ModuleType:
    try:
        import tensorflow_datasets
    except ImportError as error:
        raise UserError(
            f"config.data.source=tfds: {error}; run pip install 'fcnjax[tfds]'"
        ) from error
    return tensorflow_datasets


def _image_features(features: Mapping[str, Any]) -> list[str]:
    image = _library().features.Image
    return [name for name, feature in features.items() if isinstance(feature, image)]


def _builder(data: ConfigDict) -> Any:
    """Return the builder of a prepared dataset.

    Raises:
        UserError: The dataset is not prepared, or cannot be read by index; names the command.
    """
    library = _library()
    if data.root:
        require_root(data)
    try:
        if data.root and not data.name and Path(data.root, "dataset_info.json").is_file():
            builder = library.builder_from_directory(data.root)
        elif data.name:
            # `tfds.builder` without a version would take that of its code, not of the files.
            from tensorflow_datasets.core.read_only_builder import builder_from_files

            builder = builder_from_files(data.name, data_dir=data.root or None)
        else:
            raise UserError(
                "config.data.name: is empty; valid: the name of a dataset, as oxford_iiit_pet"
            )
    except library.core.registered.DatasetNotFoundError as error:
        folder = data.root or library.core.constants.DATA_DIR
        raise UserError(
            f"config.data.name: {data.name!r} is not prepared in {folder}; run {_command(data)}"
        ) from error
    except UserError:
        raise
    except Exception as error:  # files and names raise many types
        raise UserError(f"{data.name or data.root}: {first_line(error)}") from error
    formats = builder.info.available_file_formats()
    random_access = library.core.file_adapters.FileFormat.with_random_access()
    if not formats & random_access:
        raise UserError(
            f"{builder.data_dir}: is prepared as {', '.join(sorted(f.value for f in formats))}, "
            f"which cannot be read by index; prepare it in another folder: {_command(data, 'DIR')}"
        )
    return builder


def _command(data: ConfigDict, folder: str = "") -> str:
    folder = folder or data.root
    option = f" --data-dir={folder}" if folder else ""
    return f"`fcnjax data prepare {data.name or 'NAME'}{option}`"


def _open_parts(data: ConfigDict) -> dict[str, TfdsRecords]:
    builder = _builder(data)
    valid = _image_features(builder.info.features)
    images, masks = (choose_column(data, key, valid) for key in ("images", "masks"))
    parts = {}
    for part in PARTS:
        split = check_split(data, part, [*builder.info.splits, "all"])
        try:
            parts[part] = TfdsRecords(builder, split, images, masks)
        except ValueError as error:
            raise split_error(data, part) from error
    return parts


def _known_classes(data: ConfigDict) -> Mapping[str, Any]:
    info = _builder(data).info
    feature = info.features[data.masks]
    count = getattr(feature, "num_classes", None)
    if not count:
        return CLASSES.get(info.name, {})
    names = tuple(feature.names)
    # The library's placeholders for missing names are numbers.
    if names == tuple(map(str, range(count))):
        return {"labels.mask_values": tuple(range(count))}
    return {"labels.mask_values": tuple(range(count)), "class_names": names}


def prepare(name: str, folder: Path | None = None) -> Path:
    """Download a dataset and prepare it as ArrayRecord files, unless it exists.

    Args:
        name: Its name in TensorFlow Datasets.
        folder: The folder of such datasets; None for the library's.

    Returns:
        The folder of the dataset.

    Raises:
        UserError: TensorFlow is missing, or the dataset does not exist or cannot be prepared.
    """
    library = _library()
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"{name}: preparing a dataset needs TensorFlow (reading does not); run pip install "
            "'fcnjax[tfds]'"
        )
    try:
        builder = library.builder(name, data_dir=folder, file_format="array_record")
        builder.download_and_prepare()
    except library.core.registered.DatasetNotFoundError as error:
        raise _unknown_dataset(
            name, library.list_builders(with_community_datasets=False)
        ) from error
    except Exception as error:  # the code of a dataset may raise any type
        raise UserError(f"{name}: cannot be prepared: {first_line(error)}") from error
    return Path(builder.data_dir)


def _unknown_dataset(name: str, valid: list[str]) -> UserError:
    # Only the nearest names, since there are over a thousand.
    near = difflib.get_close_matches(name.partition(":")[0].partition("/")[0], valid)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return UserError(f"{name}: TensorFlow Datasets has no such dataset{hint}")


LAYOUT = record_layout(
    "TensorFlow Datasets, prepared as ArrayRecord; config.data.name is the dataset's name",
    _open_parts,
    _known_classes,
)
