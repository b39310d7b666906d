"""Folders of published models: config.json, preprocessor_config.json, and the model they make."""

import shutil
from pathlib import Path

import jax

from fcnjax.models import build_model
from fcnjax.published import find_published
from tests.fuzz.mutations import JSON
from tests.fuzz.target import Target

GOLDENS = Path(__file__).parents[2] / "published" / "goldens"
NAMES = ("segformer", "upernet_swin", "beit", "dpt_vit", "mobilevit", "mask2former", "eomt")
FILES = ("config.json", "preprocessor_config.json")


def _make(folder: Path) -> list[Path]:
    files = []
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "model.safetensors").write_bytes(b"")  # only its presence counts
        for file in FILES:
            files.append(Path(shutil.copy(GOLDENS / name / file, folder / name / file)))
    return files


def _read(path: Path) -> None:
    published = find_published(path.parent)
    if published is not None:  # else another kind of folder
        build_model(published.describe(lambda line: None).config)
    jax.clear_caches()


TARGETS = [Target("hub-folder", _make, _read, JSON)]
