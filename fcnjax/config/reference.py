"""The schema of a config as text: for `fcnjax config` and docs/config.md."""

import textwrap
from collections.abc import Mapping, Sequence

from fcnjax.config.key import TYPE_NAMES, Key, Scope
from fcnjax.config.migrate import new_name
from fcnjax.config.schema import KEYS
from fcnjax.errors import UserError, unknown

WIDTH = 100  # characters of a line
_ABOUT: Mapping[str, str] = {
    "model": "The model. A key that is None has the default of the encoder or decoder.",
    "data": "The data set, how it is stored and how it is read.",
    "data.split": "How images are divided into training and evaluation.",
    "data.labels": "How masks store classes.",
    "data.loading": "How examples are read.",
    "data.sampling": "Which examples, and which parts of them, are trained on.",
    "data.coco": "Of the source `coco`.",
    "data.geotiff": "Of the source `geotiff`.",
    "data.nifti": "Of the source `nifti`.",
    "augment": "Random augmentation, on the device.",
    "loss": "The weight of each term of the loss, and the options of the terms.",
    "optim": "The optimizer and the schedule of its learning rate.",
    "train": "The training run.",
    "eval": "The evaluation.",
    "mesh": "How devices share the work.",
    "plan": "The keys that are chosen from the images, the labels and the devices.",
}
_HEADER = """\
# The config

Every key of a config. `fcnjax config --markdown > docs/config.md` makes this page; `fcnjax config
optim` prints a section, and `fcnjax config optim.lr` a key. On the command line a key is set by
`--config.optim.lr=3e-3`.

**R**: the value may differ when a run is resumed. **E**: it may be given to `fcnjax evaluate`.
Every other key belongs to the run or its model.
"""


def sections() -> str:
    """Return the sections as lines of text."""
    width = max(map(len, _ABOUT)) + 2
    lines = [f"  {name:<{width}}{about}" for name, about in _ABOUT.items()]
    return "\n".join(["Sections of a config:", "", *lines])


def describe(name: str) -> str:
    """Return a section or a key as lines of text.

    Args:
        name: Its full name, such as `data.split` or `optim.lr`, with or without `config.` before.

    Raises:
        UserError: There is no such section or key; suggests the nearest.
    """
    name = name.removeprefix("--").removeprefix("config.")
    if name in KEYS:
        return _key(name)
    if name in _ABOUT:
        return _section(name)
    if new := new_name(name):
        raise UserError(f"fcnjax config: {name} is now {new}")
    section = name.rpartition(".")[0]
    raise unknown(
        "fcnjax config", name, _names(section) or _names(name.partition(".")[0]) or _ABOUT
    )


def _names(section: str) -> list[str]:
    """Return the full names of the keys of a section, without those of its subsections."""
    return [name for name in KEYS if name.rpartition(".")[0] == section]


def _section(section: str) -> str:
    names = _names(section)
    leaves = [name.rpartition(".")[2] for name in names]
    defaults = [_default(KEYS[name]) for name in names]
    width, defaults_width = max(map(len, leaves)) + 2, min(max(map(len, defaults)), 24) + 2
    indent = " " * (2 + width + defaults_width)
    lines = [f"config.{section}: {_ABOUT[section]}", ""]
    for name, leaf, default in zip(names, leaves, defaults, strict=True):
        head = f"  {leaf:<{width}}{default:<{defaults_width}}"
        lines += textwrap.wrap(
            KEYS[name].meaning, WIDTH, initial_indent=head, subsequent_indent=indent
        )
    below = [f"config.{name}" for name in _ABOUT if name.startswith(f"{section}.")]
    return "\n".join([*lines, *(["", f"Subsections: {', '.join(below)}"] if below else [])])


def _key(name: str) -> str:
    key = KEYS[name]
    rows = {
        "type": TYPE_NAMES[key.value_type],
        "default": _default(key),
        "valid": _valid(key),
        "read by": ", ".join(key.used_by),
        "on resume": "may differ" if Scope.RESUME in key.scope else "has to stay",
        "evaluate": "may be given" if Scope.EVALUATE in key.scope else "is that of the run",
    }
    if Scope.PLACE in key.scope:
        rows["on resume"] = "may differ if the files are the same"
    if name == "train.steps":
        rows["on resume"] = "may be larger"
    lines = textwrap.wrap(key.meaning, WIDTH, initial_indent="  ", subsequent_indent="  ")
    lines.append("")
    for title, text in rows.items():
        head = f"  {title:<11}"
        lines += textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    return "\n".join([f"config.{name}", *lines])


def _default(key: Key) -> str:
    value = key.default
    if isinstance(value, float):
        return f"{value:.5g}"
    return repr(value).replace("'", '"') if isinstance(value, tuple | str) else str(value)


def _valid(key: Key) -> str:
    if key.valid is None:
        return ""
    return ", ".join(name or '""' for name in key.valid.choices) or key.valid.text


def markdown() -> str:
    """Return the page docs/config.md."""
    lines = [_HEADER]
    for section, about in _ABOUT.items():
        lines += [f"{'###' if '.' in section else '##'} config.{section}", "", about, ""]
        lines += ["| key | default | meaning | valid | may change |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(_row(name))} |" for name in _names(section)]
        lines.append("")
    return "\n".join(lines)


def _row(name: str) -> Sequence[str]:
    key = KEYS[name]
    meaning = key.meaning
    if key.used_by and not any(key.used_by == (part,) for part in name.split(".")):
        meaning += f" Read by {', '.join(f'`{reader}`' for reader in key.used_by)}."
    letters = [
        letter
        for letter, scope in (("R", Scope.RESUME), ("E", Scope.EVALUATE))
        if scope in key.scope
    ]
    valid = _valid(key).replace("|", "\\|")
    return (
        f"`{name.rpartition('.')[2]}`",
        f"`{_default(key)}`",
        meaning.replace("|", "\\|"),
        valid,
        " ".join(letters),
    )
