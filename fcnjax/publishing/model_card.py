"""The README.md of a published model, in the Hugging Face hub's form of a model card.

The hub reads the front matter (https://huggingface.co/docs/hub/model-cards). Its values are written
as JSON, which is YAML too. Every figure is of `metrics.json`; without that there is none.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import channel_names, default_config, flatten
from fcnjax.io.pictures import default_palette
from fcnjax.losses import LOSSES
from fcnjax.metrics import OVERALL, PER_CLASS, percent

TAGS = ("fcnjax", "jax", "flax", "semantic-segmentation")
_TITLES = {"iou": "IoU", "fw_iou": "frequency-weighted IoU"}
# What a reader of the card wants of the config; the rest is in config.json.
_SHOWN = (
    "model.encoder",
    "model.decoder",
    "model.head",
    "data.source",
    "data.channels",
    "data.pixel_type",
    "augment.crop",
    "train.steps",
    "train.batch_size",
    "train.seed",
    "optim.name",
    "optim.lr",
    "optim.schedule",
    "optim.weight_decay",
    "optim.ema_decay",
)


@dataclass(frozen=True)
class Card:
    """What a card says beside config and scores.

    Attributes:
        name: Of the model.
        step: Of its weights.
        parameters: Their number.
        license_id: As the hub names licences, or None.
        dataset: A name, or `OWNER/NAME` on the hub, or None.
    """

    name: str
    step: int
    parameters: int
    license_id: str | None = None
    dataset: str | None = None


def model_card(card: Card, config: ConfigDict, metrics: Mapping[str, Any] | None) -> str:
    """The text of the card: front matter, use, classes, scores and training.

    Args:
        card: Names and numbers.
        config: Of the training.
        metrics: The content of `metrics.json`, or None.
    """
    parts = [
        "---",
        *_front_matter(card, config, metrics),
        "---",
        "",
        f"# {card.name}",
        "",
        _summary(card, config),
        "",
        *_use(config),
        *_scores(config, metrics, card),
        *_training(config),
    ]
    return "\n".join(parts) + "\n"


def _front_matter(card: Card, config: ConfigDict, metrics: Mapping[str, Any] | None) -> list[str]:
    lines = ["library_name: fcnjax", "pipeline_tag: image-segmentation"]
    if card.license_id:
        lines.append(f"license: {_json(card.license_id)}")
    lines += ["tags:", *(f"- {tag}" for tag in TAGS)]
    if card.dataset and "/" in card.dataset:
        lines += ["datasets:", f"- {_json(card.dataset)}"]
    if metrics is not None:
        lines += ["model-index:", f"- name: {_json(card.name)}", "  results:"]
        lines += [f"  - {_json(_result(card, config, metrics))}"]
    return lines


def _result(card: Card, config: ConfigDict, metrics: Mapping[str, Any]) -> dict[str, Any]:
    dataset = card.dataset or config.data.source
    best = config.eval.best_metric
    names = [*OVERALL, *([best] if best and best not in OVERALL else [])]
    values = metrics["metrics"]
    return {
        "task": {"type": "image-segmentation", "name": "Semantic segmentation"},
        "dataset": {"type": dataset, "name": dataset, "split": _split(config, metrics)},
        "metrics": [
            {"type": name, "name": _title(name), "value": round(values[name], 4)}
            for name in names
            if values.get(name) is not None
        ],
    }


def _split(config: ConfigDict, metrics: Mapping[str, Any]) -> str:
    return metrics.get("split", config.data.split.eval)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _title(name: str) -> str:
    """`iou/vessel` -> `IoU of vessel`; `mean_iou` -> `mean IoU`."""
    kind, _, of = name.partition("/")
    title = _TITLES.get(kind) or kind.replace("_", " ").replace("iou", "IoU")
    return f"{title.replace('dice', 'Dice')} of {of}" if of else title.replace("dice", "Dice")


def _summary(card: Card, config: ConfigDict) -> str:
    names = [str(name) for name in config.data.class_names]
    image = {"L": "a grey image", "RGB": "an RGB image"}.get(
        config.data.channels, f"an image of the bands {config.data.channels}"
    )
    return (
        f"Labels every pixel of {image} of any size as one of {len(names)} classes. "
        f"Decoder `{config.model.decoder}` on encoder `{config.model.encoder}`, "
        f"{card.parameters / 1e6:.2f} million parameters, step {card.step}; trained with fcnjax "
        "(JAX and Flax)." + (f" Trained on {_text(card.dataset)}." if card.dataset else "")
    )


def _use(config: ConfigDict) -> list[str]:
    channels = channel_names(config.data.channels)
    shape = "[H, W]" if len(channels) == 1 else f"[H, W, {len(channels)}]"
    return [
        "## Use it",
        "",
        "`MODEL` is this folder, or `hf://OWNER/NAME` where it is on the Hugging Face hub.",
        "",
        "```bash",
        "fcnjax predict --workdir=MODEL photo.jpg --out=masks",
        "fcnjax train --config=folder:root=DIR --workdir=runs/mine --config.model.init_from=MODEL",
        "```",
        "",
        "```python",
        "import fcnjax",
        "",
        'model = fcnjax.load("MODEL")',
        f'out = model("photo.jpg")  # or an array {shape}',
        "out.mask  # [H, W] class ids",
        "out.probabilities  # [H, W, classes]",
        "```",
        "",
        "`model.safetensors` holds every array under its path in Flax, a convolution as "
        "`[height, width, in, out]`; `config.json` says the rest. "
        f"{_pixels(config.data.pixel_type)} "
        f"normalised with mean {_list(config.data.mean)} and deviation {_list(config.data.std)}.",
        "",
    ]


def _pixels(pixel_type: str | None) -> str:
    """The words on the pixels that the model takes, up to their normalisation."""
    if pixel_type is None:
        return "Pixels scaled to 0..1 are"
    scaled = "" if pixel_type == "float32" else f", scaled to 0..1 by {np.iinfo(pixel_type).max},"
    return (
        f"It was trained on {pixel_type} pixels; those of other types are taken by value. "
        f"Pixels{scaled} are"
    )


def _scores(config: ConfigDict, metrics: Mapping[str, Any] | None, card: Card) -> list[str]:
    names, values = config.data.class_names, metrics["metrics"] if metrics else {}
    palette = config.data.palette or default_palette(len(names))
    columns = PER_CLASS if metrics else ()
    header = ["id", "class", "colour", *map(_title, columns)]
    rows = [
        [
            str(number),
            _text(name),
            "#" + "".join(f"{part:02x}" for part in palette[number]),
            *(percent(values.get(f"{column}/{name}")) for column in columns),
        ]
        for number, name in enumerate(names)
    ]
    lines = ["## Classes and scores" if metrics else "## Classes", "", *_table(header, rows), ""]
    if metrics is None:
        return [*lines, "Its scores were not measured.", ""]
    overall = [[_title(name), percent(values.get(name))] for name in OVERALL]
    where = f" of {_text(card.dataset)}" if card.dataset else ""
    return [
        *lines,
        *_table(["over all classes", "%"], overall),
        "",
        f"In percent, on the split `{_split(config, metrics)}`{where}, pixels of all images "
        "counted together, by `fcnjax evaluate`; `-` stands for what no pixel tells.",
        "",
    ]


def _training(config: ConfigDict) -> list[str]:
    flat = flatten(config)
    usual = flatten(default_config())
    losses = [
        f"loss.{key}"
        for key, value in config.loss.items()
        if (value if key in LOSSES else value != usual[f"loss.{key}"])
    ]
    rows = [[f"`{key}`", f"`{flat[key]}`"] for key in (*_SHOWN, *losses) if flat[key] is not None]
    return ["## Training", "", *_table(["key of the config", "value"], rows)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _text(text: str) -> str:
    """Text that Markdown takes as it is, within a table too."""
    line = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in line)


def _list(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
