"""Small exports of annotation tools, written as their documentation describes the formats."""

import base64
import io
import json

import numpy as np
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve

SIZE = (8, 10)


def picture(path, size=SIZE, value=1, **options):
    """An image file full of a value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path, **options)


def png(array):
    """An array as a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def grid(text, **values):
    """An array of a picture in letters: digits are ids, `.` is 0, a letter stands for its value."""
    return np.asarray(
        [[0 if c == "." else values.get(c) or int(c) for c in row] for row in text.split()]
    )


def filled(runs, size):
    """The mask `[H, W]` bool of the runs of an image's pixels."""
    pixels = np.zeros(size[0] * size[1], bool)
    runs.paint(pixels, True)
    return pixels.reshape(size[::-1]).T


def config_of(source, root, **data):
    config = default_config()
    set_data(config, source=source, root=str(root), **data)
    return config


def examples(config):
    """The resolved config, its notes, and all examples of both splits by name."""
    config, notes = resolve(config)
    found = {}
    for part in ("train", "eval"):
        source = open_source(config, part)
        for row in range(len(source)):
            example = source[row]
            assert source.size(row) == example["label"].shape == example["image"].shape[:2]
            found[example["name"]] = example
    return config, notes, found


def labels(config):
    """The labels of all examples of both splits by name."""
    return {name: example["label"] for name, example in examples(config)[2].items()}


def row_runs(mask):
    """CVAT's run lengths of a mask: along the rows, from 0 on."""
    counts, last, flat = [0], 0, mask.ravel().astype(int)
    for value in flat:
        if value != last:
            counts.append(0)
            last = value
        counts[-1] += 1
    return ", ".join(map(str, counts))


def write_cvat(root, images, names=("cat", "dog"), name="annotations.xml", meta="", **more):
    """CVAT for images 1.1: `images` has the XML of the shapes by file name."""
    labels = "".join(f"<label><name>{n}</name><color>#ff0000</color></label>" for n in names)
    text = [f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>{meta}']
    text.append(f"<meta><task><id>1</id><labels>{labels}</labels></task></meta>")
    for number, (file, shapes) in enumerate(images.items()):
        extra = "".join(f' {key}="{value[number]}"' for key, value in more.items())
        text.append(
            f'<image id="{number}" name="{file}"{extra} width="10" height="8">{shapes}</image>'
        )
    (root / name).write_text("\n".join([*text, "</annotations>"]))


class _Bits:
    def __init__(self):
        self.text = ""

    def add(self, value, bits):
        self.text += f"{value:0{bits}b}"


def label_studio_runs(mask):
    """The bytes of a mask in Label Studio's brush format: RGBA, runs and literal values."""
    flat = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    bits, sizes = _Bits(), (3, 4, 8, 16)
    bits.add(flat.size, 32)
    bits.add(7, 5)
    for size in sizes:
        bits.add(size - 1, 4)
    starts = np.flatnonzero(np.diff(flat.astype(int), prepend=-1))
    ends = [*starts[1:].tolist(), flat.size]
    for start, end in zip(starts.tolist(), ends, strict=True):
        # Runs of one pixel are written as four literal values.
        literal = end - start == 4
        which = next(i for i, size in enumerate(sizes) if end - start - 1 < 1 << size)
        bits.add(0 if literal else 1, 1)
        bits.add(which, 2)
        bits.add(end - start - 1, sizes[which])
        for value in flat[start:end] if literal else flat[start : start + 1]:
            bits.add(int(value), 8)
    text = bits.text + "0" * (-len(bits.text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def ls_result(kind, value, label, size=SIZE, **more):
    """A region of Label Studio."""
    return {
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "value": {**value, kind: [label]},
        "id": f"r{label}{len(str(value))}",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        **more,
    }


def ls_task(image, *results, **more):
    """A task of Label Studio's JSON export with one annotation."""
    annotation = {"id": 1, "was_cancelled": False, "ground_truth": False, "result": list(results)}
    return {"id": 1, "annotations": [annotation], "data": {"image": image}, **more}


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
