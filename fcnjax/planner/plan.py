"""The plan: rules that choose keys of a config, one after another."""

from collections.abc import Collection

import jax
from ml_collections import ConfigDict

from fcnjax.config import check_section, open_keys
from fcnjax.errors import UserError
from fcnjax.planner import data_rules, time_rules
from fcnjax.planner.budget import Budget
from fcnjax.planner.choice import Choice
from fcnjax.planner.fingerprint import read_fingerprint
from fcnjax.planner.weights_rule import choose_weights

# Later rules use what earlier ones chose.
RULES = (
    choose_weights,
    data_rules.choose_channels,
    data_rules.choose_normalisation,
    data_rules.choose_cache,
    data_rules.choose_flips,
    data_rules.choose_geometry,
    data_rules.choose_colours,
    data_rules.choose_loss,
    time_rules.choose_crop,
    data_rules.choose_sampling,
    time_rules.choose_batch,
    time_rules.choose_optimizer,
    time_rules.choose_model,
    time_rules.choose_rate,
    time_rules.choose_steps,
)


def apply_plan(
    config: ConfigDict, sections: Collection[str] | None = None
) -> tuple[ConfigDict, list[Choice]]:
    """Choose the open keys of a config for a training of `config.plan.minutes`.

    Args:
        config: A config whose data is resolved.
        sections: The sections whose keys are chosen, such as `augment`; None: all.

    Returns:
        A copy of the config with the chosen values, of which `plan.auto` names the keys, and the
        choices; without open keys, the config itself.

    Raises:
        UserError: A value of `config.plan` is not valid, no image can be read, or the job has
            several processes.
    """
    for name in ("plan", "train", "augment"):
        check_section(config[name], name)
    keys = frozenset(
        key for key in open_keys(config) if sections is None or key.split(".")[0] in sections
    )
    if not keys:
        return config, []
    if jax.process_count() > 1:
        raise UserError(
            "config.plan.auto: the planner times steps of one process, and this job has "
            f"{jax.process_count()}; write a config with `fcnjax data plan --out=FILE.py` and "
            "train with it, or give --config.plan.minutes=0"
        )
    budget = Budget(60 * config.plan.minutes, keys)
    fingerprint = read_fingerprint(config)
    config = config.copy_and_resolve_references()
    choices = []
    for rule in RULES:
        for values, reason in rule(config, fingerprint, budget):
            chosen = {key: value for key, value in values.items() if key in keys}
            if chosen:
                config.update_from_flattened_dict(chosen)
                choices.append(Choice(chosen, reason))
    chosen = {key for choice in choices for key in choice.values}
    config.plan.auto = tuple(pair for pair in config.plan.auto if pair[0] in chosen)
    return config, choices
