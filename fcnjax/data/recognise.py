"""Recognises exports of annotation tools in a folder, to suggest how they are read."""

import re
from pathlib import Path

from ml_collections import ConfigDict

_LOOKED_AT = 1 << 16  # bytes of a file
_MOST_FOLDERS, _MOST_FILES = 50, 5  # of a folder
_BRUSH = re.compile(r"task-\d+-annotation-\d+-by-.*-tag-.*\.png")


def suggest_source(data: ConfigDict) -> str:
    """Words for the end of an error about `config.data`; "" where nothing else is recognised."""
    root = Path(data.root or ".")
    if not data.root or not root.is_dir():
        return ""
    for folder in (root, *_folders(root)):
        for file in _files(folder):
            found = _recognise(file, root)
            if found and found[1] != data.source:
                what, source, words = found
                line = f"--config.data.source={source}{words}"
                return f" ({file} is {what}: {line})"
            if found:
                return ""
    return ""


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())[:_MOST_FOLDERS]
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    """Some of the files of annotations in a folder, and one brush mask."""
    try:
        paths = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError:
        return []
    texts = [path for path in paths if path.suffix.lower() in (".xml", ".json")]
    return [*texts[:_MOST_FILES], *[p for p in paths if _BRUSH.fullmatch(p.name)][:1]]


def _recognise(file: Path, root: Path) -> tuple[str, str, str] | None:
    """A file's kind, its source, and further words for the command line."""
    name = file.relative_to(root).as_posix()
    below = f" --config.data.annotations={file.parent.relative_to(root).as_posix()}"
    below = "" if file.parent == root else below
    if _BRUSH.fullmatch(file.name):
        what = "a brush mask of Label Studio, one file for each label; export the project as JSON"
        return what, "labelstudio", ""
    try:
        with file.open("rb") as opened:
            head = opened.read(_LOOKED_AT).decode("utf-8-sig", "ignore")
    except OSError:
        return None
    if file.suffix.lower() == ".xml":
        if "<annotations>" in head:
            return "CVAT's XML", "cvat", f" --config.data.annotations={name}"
        if "<annotation>" in head and ("<polygon>" in head or "<segm>" in head):
            return "LabelMe's XML", "labelme", below
        return None
    if '"shapes"' in head and '"imagePath"' in head:
        return "LabelMe's JSON", "labelme", below
    if file.name == "_annotations.coco.json" and file.parent != root:
        others = " --config.data.images={split} --config.data.annotations={split}/" + file.name
        return "Roboflow's COCO export", "coco", f"{others} --config.data.eval_split=valid"
    if '"file_name"' in head and ('"images"' in head or '"categories"' in head):
        return "COCO's JSON", "coco", f" --config.data.annotations={name}"
    if head.lstrip().startswith("[") and '"annotations"' in head and '"result"' in head:
        return "Label Studio's JSON", "labelstudio", f" --config.data.annotations={name}"
    if '"shape_attributes"' in head:
        return "VGG Image Annotator's JSON", "via", f" --config.data.annotations={name}"
    return None
