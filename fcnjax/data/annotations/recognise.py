"""Recognises exports of annotation tools in a folder, to suggest how they are read."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

Settings = dict[str, str]  # of `config.data`, by key

_LOOKED_AT = 1 << 16  # bytes of a file
_MOST_FOLDERS, _MOST_FILES = 50, 5  # of a folder
_CLASSES = "_classes.csv"
_PLAIN = re.compile(r"[\w./{}-]+")
_BRUSH = re.compile(r"task-\d+-annotation-\d+-by-.*-tag-.*\.png")


def suggest_source(data: ConfigDict) -> str:
    """Words for the end of an error about `config.data`; "" where nothing else is recognised."""
    root = Path(data.root or ".")
    if not data.root or not root.is_dir():
        return ""
    for folder in (root, *_folders(root)):
        for file in _files(folder):
            if found := _recognise(file, root):
                what, settings = found
                return (
                    "" if _is_chosen(data, settings) else f" ({file} is {what}: {_line(settings)})"
                )
    return ""


def _is_chosen(data: ConfigDict, settings: Settings) -> bool:
    """Return whether a config has this source already, and says itself where its files are."""
    usual = {"images": "images", "masks": "masks"}
    keys = settings.keys() & {"annotations", "masks"}
    chosen = not keys or any(data[key] != usual.get(key, "") for key in keys)
    return data.source == settings["source"] and chosen


def _line(settings: Settings) -> str:
    """The settings as a line for a shell."""
    words = []
    for key, value in settings.items():
        word = value if _PLAIN.fullmatch(value) else shlex.quote(value)
        words.append(f"--config.data.{key}={word}")
    return " ".join(words)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())[:_MOST_FOLDERS]
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    """Some of the files of annotations in a folder, one brush mask, and a list of classes."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError:
        return []
    texts = [path for path in paths if path.suffix.lower() in (".xml", ".json")]
    others = [path for path in paths if _BRUSH.fullmatch(path.name) or path.name == _CLASSES]
    return [*texts[:_MOST_FILES], *others[:1]]


def _recognise(file: Path, root: Path) -> tuple[str, Settings] | None:
    """A file's kind, and the settings that read the set."""
    below = file.parent != root
    if _BRUSH.fullmatch(file.name):
        what = "a brush mask of Label Studio, one file for each label; export the project as JSON"
        return what, {"source": "labelstudio"}
    if file.name == _CLASSES:
        place = {"images": ".", "masks": ".", "mask_suffix": "_mask"}
        return "Roboflow's list of mask values", {
            "source": "folder",
            **place,
            **({"split.eval": "valid"} if below else {}),
        }
    if file.name == "_annotations.coco.json" and below:
        settings = {"source": "coco", "images": "{split}", "split.eval": "valid"}
        return "Roboflow's COCO export", {**settings, "annotations": f"{{split}}/{file.name}"}
    try:
        with file.open("rb") as opened:
            head = opened.read(_LOOKED_AT).decode("utf-8-sig", "ignore")
    except OSError:
        return None
    name = file.relative_to(root).as_posix()
    for what, source, is_one in _KINDS:
        if is_one(head):
            if source != "labelme":
                return what, {"source": source, "annotations": name}
            folder = {"annotations": file.parent.relative_to(root).as_posix()} if below else {}
            return what, {"source": source, **folder}
    return None


# Files by what their first bytes hold.
_KINDS: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("CVAT's XML", "cvat", lambda head: "<annotations>" in head),
    (
        "LabelMe's XML",
        "labelme",
        lambda head: "<annotation>" in head and ("<polygon>" in head or "<segm>" in head),
    ),
    ("LabelMe's JSON", "labelme", lambda head: '"shapes"' in head and '"imagePath"' in head),
    (
        "COCO's JSON",
        "coco",
        lambda head: '"file_name"' in head and ('"images"' in head or '"categories"' in head),
    ),
    (
        "Label Studio's JSON",
        "labelstudio",
        lambda head: head.lstrip()[:1] == "[" and '"annotations"' in head and '"result"' in head,
    ),
    ("VGG Image Annotator's JSON", "via", lambda head: '"shape_attributes"' in head),
)
