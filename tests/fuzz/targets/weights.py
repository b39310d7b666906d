"""Files of weights: both formats of torch, safetensors, pickled NumPy arrays, published models."""

import io
import json
import math
import os
import pickle
import pickletools
import shutil
import struct
import zipfile
from pathlib import Path
from random import Random

import jax
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from fcnjax.config import default_config
from fcnjax.inference.load_model import load_variables
from fcnjax.inspection.parity import read_entries
from fcnjax.models import build_model
from fcnjax.models.pretrained.model_folder import save_variables
from fcnjax.models.pretrained.reader import read_tensors
from fcnjax.models.pretrained.sources import fetch_weights
from fcnjax.models.pretrained.torch_files.numpy_pickles import read_arrays
from fcnjax.training.state import init_variables
from fcnjax.training.workdir import save_config
from tests.fuzz.mutations import BYTES, JSON, mutate_json
from tests.fuzz.target import Target

TINY = Path(__file__).parents[2] / "models" / "pretrained" / "files"
FILES = (
    *("tiny_zip.pth", "tiny_legacy.pth", "tiny_wrapped_ddp.pth", "tiny_lightning_fp16.ckpt"),
    "tiny.safetensors",
)
REFERENCES = Path(__file__).parents[2] / "models" / "goldens" / "more.json"
TRANSFORM = {"__class_fullname__": "a.Normalize", "mean": [0.5], "std": [0.2]}
BESIDE = {
    "config.json": {"pretrained_cfg": {"mean": [0.5], "std": [0.2], "input_range": [0, 1]}},
    "preprocessor_config.json": {"image_mean": [0.5], "image_std": [0.2]},
    "albumentations_config_eval.json": {"transform": {"transforms": [TRANSFORM]}},
}
# Opcodes with their arguments: containers, calls, memo indices, sizes beyond the file.
PIECES = (
    *(b"}", b"]", b")", b"(", b"t", b"\x85", b"\x86", b"\x87", b"s", b"u", b"a", b"e", b"b"),
    *(b"R", b"Q", b"0", b"1", b"2", b"\x81", b"\x92", b"\x8f", b"\x90", b"\x91", b"\x93", b"\x94"),
    *(b"N", b"\x88", b"\x89", b"K\x00", b"J\xff\xff\xff\xff", b"\x8a\x10" + b"\x7f" * 16),
    *(b"\x8b\xff\xff\xff\x7f", b"\x8b\x00\x01\x00\x00" + b"\x7f" * 256, b"G\x7f\xf8" + bytes(6)),
    *(b"q\x00", b"r\xff\xff\xff\x7f", b"h\x00", b"j\xff\xff\xff\x7f", b"h\x00h\x00\x86q\x00"),
    *(b"}q\x00X\x01\x00\x00\x00ah\x00s", b"X\xff\xff\xff\xff", b"\x8d" + b"\xff" * 8, b"\x82\x01"),
    *(b"cos\nsystem\n", b"cbuiltins\neval\n", b"ccollections\nOrderedDict\n", b"ctorch\nSize\n"),
    *(
        b"ctorch\nFloatStorage\n",
        b"cnumpy\nx\n",
        b"\x95" + b"\xff" * 8,
        b"\x96" + b"\xff" * 8,
        b".",
    ),
    b"}" + b"X\x02\x00\x00\x00\xed\xa0" + b"N" + b"s",
)


def _make_weights(folder: Path) -> list[Path]:
    for name in FILES:
        shutil.copy(TINY / name, folder)
    save_file({"a.b": np.ones((2, 3), ml_dtypes.bfloat16)}, folder / "half.safetensors")
    arrays = {"a": {"kernel": np.ones((3, 2), np.float32), "bias": np.zeros(2)}, "b": np.arange(3)}
    for protocol in (3, 4):
        (folder / f"arrays{protocol}.pickle").write_bytes(pickle.dumps(arrays, protocol))
    return sorted(folder.iterdir())


def _set_cache(seeds: Path) -> None:
    os.environ["FCNJAX_CACHE"] = str(seeds.parent / "weights-cache")


def _read_weights(path: Path) -> None:
    if path.suffix == ".pickle":
        arrays = read_arrays(path.read_bytes(), path.name)
    else:
        arrays = read_tensors(fetch_weights(str(path)))
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


def mutate_opcodes(rng: Random, content: bytes) -> bytes:
    """Delete, repeat, move, replace or add opcodes of the pickles in a file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    except Exception:  # another kind of file, or one that another mutation has damaged
        return _mutate_pickle(rng, content)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, member in members:
            changed = name.endswith("data.pkl")
            archive.writestr(name, _mutate_pickle(rng, member) if changed else member)
    return out.getvalue()


def _mutate_pickle(rng: Random, content: bytes) -> bytes:
    pieces, end = _opcodes(content)
    if not pieces:
        return content
    at, size = rng.randrange(len(pieces)), rng.choice((1, 1, 1, 2, 5, 20))
    block, rest = pieces[at : at + size], pieces[:at] + pieces[at + size :]
    to = rng.randrange(len(rest) + 1)
    action = rng.choice(("delete", "repeat", "move", "replace", "add"))
    if action == "delete":
        pieces = rest
    elif action == "repeat":
        pieces[at:at] = block * rng.choice((1, 2, 100, 20_000))
    elif action == "move":
        pieces = rest[:to] + block + rest[to:]
    elif action == "replace":
        pieces[at] = rng.choice(PIECES)
    else:
        pieces[at:at] = [rng.choice(PIECES)] * rng.choice((1, 1, 2, 3, 1000, 100_000))
    return b"".join(pieces) + content[end:]


def _opcodes(content: bytes) -> tuple[list[bytes], int]:
    """Return the opcodes of the pickles at the start, and their end."""
    file = io.BytesIO(content)
    positions, end = [], 0
    try:
        while True:
            positions += [position for _, _, position in pickletools.genops(file)]
            end = file.tell()
    except Exception:  # the pickles have ended, or are damaged
        pass
    positions = [position for position in positions if position < end]
    ends = [*positions[1:], end][: len(positions)]
    return [content[a:b] for a, b in zip(positions, ends, strict=True)], end


def mutate_header(rng: Random, content: bytes) -> bytes:
    """Change the JSON header of a safetensors file, or mutate opcodes of other files."""
    length = int.from_bytes(content[:8], "little")
    if not 0 < length <= len(content) - 8:
        return mutate_opcodes(rng, content)
    header = mutate_json(rng, content[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def mutate_part(rng: Random, content: bytes) -> bytes:
    """Change a JSON file, or the header of a safetensors file."""
    is_json = content[:1] == b"{" and content[8:9] != b"{"
    return (mutate_json if is_json else mutate_header)(rng, content)


def _make_published(folder: Path) -> list[Path]:
    config = default_config()
    config.data.class_names = ("background", "thing")
    config.data.pixel_type = "uint8"
    config.model.widths = (8, 16, 24)
    model = build_model(config)
    variables = jax.jit(lambda: init_variables(model, config))()
    save_variables(folder / "model.safetensors", variables, 10)
    save_config(folder, config)
    return [folder / "model.safetensors", folder / "config.json"]


def _read_published(path: Path) -> None:
    load_variables(path.parent)


def _make_normalisation(folder: Path) -> list[Path]:
    shutil.copy(TINY / "tiny.safetensors", folder)
    for name, content in BESIDE.items():
        (folder / name).write_text(json.dumps(content))
    return [folder / name for name in BESIDE]


def _read_normalisation(path: Path) -> None:
    for name in BESIDE.keys() - {path.name}:  # or another file tells it
        (path.parent / name).unlink(missing_ok=True)
    weights = fetch_weights(str(path.parent))
    assert weights.mean is None or all(map(math.isfinite, weights.mean + weights.std))


def _make_references(folder: Path) -> list[Path]:
    entries = json.loads(REFERENCES.read_text())[:2]
    (folder / "outputs.json").write_text(json.dumps(entries))
    return [folder / "outputs.json"]


TARGETS = (
    Target(
        "weights",
        _make_weights,
        _read_weights,
        (*BYTES, mutate_opcodes, mutate_opcodes, mutate_opcodes, mutate_header),
        _set_cache,
    ),
    Target("normalisation", _make_normalisation, _read_normalisation, JSON),
    Target("references", _make_references, read_entries, JSON),
    Target("published", _make_published, _read_published, (*BYTES, *[mutate_part] * 4)),
)
