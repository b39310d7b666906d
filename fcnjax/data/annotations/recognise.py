"""Recognition of exports of annotation tools in a folder, to suggest a config that reads them."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

Settings = dict[str, str]  # of `config.data`, by key

_HEAD_BYTES = 1 << 16  # of a file
_MAX_FOLDERS, _MAX_FILES = 50, 5  # of a folder
_CLASSES = "_classes.csv"
_NEEDS_NO_QUOTES = re.compile(r"[\w./{}-]+")
_BRUSH = re.compile(r"task-\d+-annotation-\d+-by-.*-tag-.*\.png")


def suggest_source(data: ConfigDict) -> str:
    """Suggest a source at the end of an error about `config.data`; "" if none is recognised."""
    root = Path(data.root or ".")
    if not data.root or not root.is_dir():
        return ""
    for folder in (root, *_folders(root)):
        for file in _files(folder):
            if match := _recognise(file, root):
                kind, settings = match
                if _is_chosen(data, settings):
                    return ""
                return f" ({file} is {kind}: {_command_line(settings)})"
    return ""


def _is_chosen(data: ConfigDict, settings: Settings) -> bool:
    """Return whether a config has this source already, and states where its files are."""
    defaults = {"images": "images", "masks": "masks"}
    keys = settings.keys() & {"annotations", "masks"}
    is_stated = not keys or any(data[key] != defaults.get(key, "") for key in keys)
    return data.source == settings["source"] and is_stated


def _command_line(settings: Settings) -> str:
    """Return the settings as arguments for a shell."""
    words = []
    for key, value in settings.items():
        word = value if _NEEDS_NO_QUOTES.fullmatch(value) else shlex.quote(value)
        words.append(f"--config.data.{key}={word}")
    return " ".join(words)


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())[:_MAX_FOLDERS]
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    """Return some files of annotations in a folder, one brush mask, and a list of classes."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError:
        return []
    texts = [path for path in paths if path.suffix.lower() in (".xml", ".json")]
    others = [path for path in paths if _BRUSH.fullmatch(path.name) or path.name == _CLASSES]
    return [*texts[:_MAX_FILES], *others[:1]]


def _recognise(file: Path, root: Path) -> tuple[str, Settings] | None:
    """Return a file's kind, and the settings that read the dataset."""
    below = file.parent != root
    if _BRUSH.fullmatch(file.name):
        kind = "a brush mask of Label Studio, one file for each label; export the project as JSON"
        return kind, {"source": "labelstudio"}
    if file.name == _CLASSES:
        settings = {"source": "folder", "images": ".", "masks": ".", "mask_suffix": "_mask"}
        return "Roboflow's list of mask values", settings | (
            {"split.eval": "valid"} if below else {}
        )
    if file.name == "_annotations.coco.json" and below:
        settings = {"source": "coco", "images": "{split}", "split.eval": "valid"}
        return "Roboflow's COCO export", {**settings, "annotations": f"{{split}}/{file.name}"}
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES).decode("utf-8-sig", "ignore")
    except OSError:
        return None
    name = file.relative_to(root).as_posix()
    for kind, source, matches in _KINDS:
        if matches(head):
            if source != "labelme":
                return kind, {"source": source, "annotations": name}
            folder = {"annotations": file.parent.relative_to(root).as_posix()} if below else {}
            return kind, {"source": source, **folder}
    return None


# Kinds of files, by their first bytes.
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
