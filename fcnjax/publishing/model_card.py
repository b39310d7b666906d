"""The README.md of a published model, as a model card of the Hugging Face hub.

The hub reads the front matter (https://huggingface.co/docs/hub/model-cards), whose values are
written as JSON, which is valid YAML. All scores come from `metrics.json`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fcnjax.config import channel_names, default_config, flatten
from fcnjax.io.jinja import render
from fcnjax.io.pictures import default_palette
from fcnjax.losses import LOSSES
from fcnjax.metrics import OVERALL, PER_CLASS, percent

_TITLES = {"iou": "IoU", "fw_iou": "frequency-weighted IoU"}
# The keys of the config on the card; config.json has all of them.
_SHOWN_KEYS = (
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
    """The content of a model card besides config and scores.

    Attributes:
        name: Name of the model.
        step: Step of its weights; 0 if they were trained by another library.
        parameters: Number of its parameters.
        license_id: Identifier of a licence on the hub, or None.
        dataset: A name, or `OWNER/NAME` on the hub, or None.
    """

    name: str
    step: int
    parameters: int
    license_id: str | None = None
    dataset: str | None = None


def model_card(card: Card, config: ConfigDict, metrics: Mapping[str, Any] | None) -> str:
    """Return the text of a model card: front matter, use, classes, scores and training.

    Args:
        card: Names and numbers.
        config: The config of the training.
        metrics: The content of `metrics.json`, or None.
    """
    data = config.data
    channels = channel_names(data.channels)
    values = metrics["metrics"] if metrics else {}
    class_columns = PER_CLASS if metrics else ()
    is_on_hub = card.dataset and "/" in card.dataset
    return render(
        "publishing/templates/model_card.md.j2",
        # The front matter, as JSON.
        license=_json(card.license_id) if card.license_id else "",
        hub_dataset=_json(card.dataset) if is_on_hub else "",
        model_name=_json(card.name),
        result=_json(_result(card, config, metrics)) if metrics is not None else "",
        # The text.
        title=card.name,
        image={"L": "a grey image", "RGB": "an RGB image"}.get(
            data.channels, f"an image of the bands {data.channels}"
        ),
        num_classes=len(data.class_names),
        decoder=config.model.decoder,
        encoder=config.model.encoder,
        millions=f"{card.parameters / 1e6:.2f}",
        step=card.step,
        dataset=_escape(card.dataset) if card.dataset else "",
        shape="[H, W]" if len(channels) == 1 else f"[H, W, {len(channels)}]",
        pixels=_describe_pixels(data.pixel_type),
        mean=_format_list(data.mean),
        std=_format_list(data.std),
        class_header=["id", "class", "colour", *map(_title, class_columns)],
        class_rows=_class_rows(config, values, class_columns),
        overall=[(_title(name), percent(values.get(name))) for name in OVERALL] if metrics else [],
        split=_split(config, metrics) if metrics else "",
        settings=_settings(config),
    )


def _result(card: Card, config: ConfigDict, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores as an entry of the hub's model index."""
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
    """Return the title of a score: `iou/vessel` -> `IoU of vessel`, `mean_iou` -> `mean IoU`."""
    metric, _, class_name = name.partition("/")
    title = _TITLES.get(metric) or metric.replace("_", " ").replace("iou", "IoU")
    title = title.replace("dice", "Dice")
    return f"{title} of {class_name}" if class_name else title


def _describe_pixels(pixel_type: str | None) -> str:
    """Return the words on the pixels that the model takes, up to their normalisation."""
    if pixel_type is None:
        return "Pixels scaled to 0..1 are"
    scaled = "" if pixel_type == "float32" else f", scaled to 0..1 by {np.iinfo(pixel_type).max},"
    return (
        f"It was trained on {pixel_type} pixels; those of other types are taken by value. "
        f"Pixels{scaled} are"
    )


def _class_rows(
    config: ConfigDict, values: Mapping[str, float | None], columns: Sequence[str]
) -> list[list[str]]:
    """Return a row for each class: its id, name, colour and scores."""
    names = config.data.class_names
    palette = config.data.palette or default_palette(len(names))
    return [
        [
            str(number),
            _escape(name),
            "#" + "".join(f"{part:02x}" for part in palette[number]),
            *(percent(values.get(f"{column}/{name}")) for column in columns),
        ]
        for number, name in enumerate(names)
    ]


def _settings(config: ConfigDict) -> list[tuple[str, str]]:
    """Return the keys of the training with their values, and the losses that were used."""
    values, defaults = flatten(config), flatten(default_config())
    losses = [
        f"loss.{key}"
        for key, value in config.loss.items()
        if (value if key in LOSSES else value != defaults[f"loss.{key}"])
    ]
    keys = [key for key in (*_SHOWN_KEYS, *losses) if values[key] is not None]
    return [(f"`{key}`", f"`{values[key]}`") for key in keys]


def _escape(text: str) -> str:
    """Escape text for Markdown, also within a table."""
    line = " ".join(str(text).split())
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in line)


def _format_list(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"
