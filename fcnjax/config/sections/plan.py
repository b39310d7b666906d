"""The keys of `config.plan`: which other keys the planner chooses (`fcnjax.planner`)."""

from typing import Any

from fcnjax.config.key import Key, Scope, each, within

AUTO = "auto"  # `--config.KEY=auto` leaves a key to the planner
MOST_MINUTES = 100_000
# The keys that the planner can choose.
PLANNED = (
    *("model.encoder", "model.decoder", "model.widths", "model.decoder_widths"),
    *("model.upsample", "model.init_from"),
    *("data.channels", "data.mean", "data.std", "data.loading.cache", "data.sampling.class_crop"),
    *("augment.crop", "augment.scale", "augment.rotation"),
    *("augment.hflip", "augment.vflip", "augment.quarter_turns"),
    *("augment.brightness", "augment.contrast", "augment.saturation"),
    *("loss.dice", "optim.name", "optim.lr", "optim.warmup_steps", "optim.ema_decay"),
    *("train.batch_size", "train.steps", "train.save_every", "eval.every"),
)


def _is_open(entry: Any) -> bool:
    return isinstance(entry, list | tuple) and len(entry) == 2 and entry[0] in PLANNED


PLAN = {
    "minutes": Key(
        0.0,
        "Minutes that the training should take on this machine, for which the planner chooses the "
        "keys of `plan.auto`; 0 plans nothing. A run that is resumed keeps its plan.",
        within(0, MOST_MINUTES),
        scope=Scope.RESUME,
    ),
    "auto": Key(
        (),
        "Pairs of a key that the planner chooses, such as `optim.lr`, and its value until then. A "
        "key that is set leaves the list, and `--config.optim.lr=auto` puts it there.",
        each(_is_open, "pairs of a key that `fcnjax data plan` prints, and its value"),
        scope=Scope.RESUME,
    ),
}
