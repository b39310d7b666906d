"""The keys of `config.optim`."""

from typing import Any

from fcnjax.config.key import Key, above, at_least, below, each, is_number, numbers, one_of


def _is_multiplier(entry: Any) -> bool:
    is_pair = isinstance(entry, list | tuple) and len(entry) == 2
    return is_pair and isinstance(entry[0], str) and is_number(entry[1]) and entry[1] > 0


OPTIM = {
    "name": Key("adamw", "The optimizer.", one_of("adamw", "sgd", "lamb", "lion", "muon")),
    "lr": Key(1e-3, "The learning rate after the warm-up.", above(0)),
    "lr_end": Key(
        0.0, "The learning rate at the end.", at_least(0), used_by=("cosine", "poly", "one_cycle")
    ),
    "schedule": Key(
        "cosine",
        "The schedule of the learning rate.",
        one_of("constant", "cosine", "poly", "step", "one_cycle"),
    ),
    "warmup_steps": Key(0, "Steps over which the learning rate rises from 0.", at_least(0)),
    "poly_power": Key(0.9, "The exponent of the schedule.", above(0), used_by=("poly",)),
    "milestones": Key(
        (),
        "Steps at which the learning rate is multiplied by `step_factor`.",
        numbers(lambda value: True, "a list of steps, such as 600,900", int),
        used_by=("step",),
    ),
    "step_factor": Key(0.1, "The factor at each of `milestones`.", above(0), used_by=("step",)),
    "momentum": Key(0.9, "The momentum.", below(1), used_by=("sgd", "muon")),
    "b1": Key(
        0.9,
        "Decay of the mean of the gradient.",
        below(1),
        used_by=("adamw", "lamb", "lion", "muon"),
    ),
    "b2": Key(
        0.999,
        "Decay of the mean of its square.",
        below(1),
        used_by=("adamw", "lamb", "lion", "muon"),
    ),
    "weight_decay": Key(1e-4, "Weight decay of kernels; norms and biases have none.", at_least(0)),
    "clip_norm": Key(0.0, "Greatest global norm of the gradient; 0 does not clip it.", at_least(0)),
    "freeze": Key(
        (),
        "Regular expressions of the paths of parameters that are not trained, as "
        "`encoder/layer1.*`. Their batch norms do not change either.",
    ),
    "freeze_norm": Key(False, "All batch norms keep to their running statistics."),
    "multipliers": Key(
        (),
        "Pairs of a regular expression of paths and the factor of their learning rate; the last "
        "that matches counts.",
        each(_is_multiplier, "pairs of a part and a factor above 0, as ('encoder',0.1)"),
    ),
    "layer_decay": Key(
        1.0,
        "Factor of the learning rate from a block of the encoder to the one before it.",
        above(0, 1),
    ),
    "ema_decay": Key(
        0.0,
        "Decay of an exponential moving average of the weights, which evaluation uses; 0 for none.",
        below(1),
    ),
    "average_last": Key(
        0,
        "Average the weights over so many last steps, in place of the moving average; 0 for none.",
        at_least(0),
    ),
}
