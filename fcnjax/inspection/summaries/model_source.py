"""The model that a command line names: a config with changes, or that of a workdir."""

from collections.abc import Sequence
from dataclasses import dataclass

from ml_collections import ConfigDict

from fcnjax.config import load_config, open_keys
from fcnjax.errors import UserError
from fcnjax.inference.identity import find_model
from fcnjax.planner import MODEL_KEYS


@dataclass(frozen=True)
class ModelSource:
    """A config, and the workdir with its weights.

    Attributes:
        config: Config of the model, with two classes if it leaves them to the data.
        notes: What the config leaves open, and what was assumed.
        workdir: Folder with the weights, or None.
    """

    config: ConfigDict
    notes: tuple[str, ...] = ()
    workdir: str | None = None


def find_source(
    command: str, config: str | None, changes: Sequence[str], workdir: str | None
) -> ModelSource:
    """Load the config that a command line names.

    Args:
        command: The command, for error messages.
        config: Name or path of a config, or None.
        changes: Words `--config.section.key=value`.
        workdir: A model, as `find_model` takes it, or None.

    Raises:
        UserError: Neither is given, a change is invalid, or the model of the config is not that of
            the workdir.
    """
    if config is None and workdir is None:
        raise UserError(f"{command}: names no model; give CONFIG, such as `{command} folder`")
    saved = None
    if workdir is not None:
        saved = find_model(workdir).config
    if config is None:
        if changes:
            raise UserError(f"{changes[0]}: changes a config, and the one of {workdir} is fixed")
        return ModelSource(saved, workdir=workdir)
    loaded = load_config(config, changes)
    if saved is not None:
        for key, value in saved.model.items():
            if key != "init_from" and loaded.model[key] != value:
                raise UserError(
                    f"{workdir}: was trained with config.model.{key} = {value!r}, and "
                    f"{config} has {loaded.model[key]!r}; leave CONFIG out to use the workdir's"
                )
        return ModelSource(saved, workdir=workdir)
    notes = []
    if {*open_keys(loaded)} >= MODEL_KEYS:
        notes.append("training plans its own model, which `fcnjax data plan` prints")
    if not loaded.data.class_names:
        loaded.data.class_names = ("background", "foreground")
        notes.append("2 classes assumed, as config.data.class_names is empty")
    return ModelSource(loaded, tuple(notes))
