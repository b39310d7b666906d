"""The planner's choices that depend on the devices and the time: crop, batch, model and steps."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from fcnjax.errors import UserError
from fcnjax.planner.budget import Budget
from fcnjax.planner.choice import Choice
from fcnjax.planner.fingerprint import Fingerprint
from fcnjax.planner.weights_rule import MODEL_KEYS

# U-Nets, by the channels of their stages.
LADDER = (
    (8, 16, 32, 64, 128),
    (16, 32, 64, 128, 256),
    (32, 64, 128, 256, 512),
    (64, 128, 256, 512, 1024),
)


@dataclass(frozen=True)
class Rates:
    """Learning rates of an optimizer.

    Attributes:
        unet: For a plain U-Net of less than `WIDE` channels at full resolution.
        wide: For a wider one.
        pretrained: For pretrained weights.
        random: For another encoder with random weights.
    """

    unet: float
    wide: float
    pretrained: float
    random: float


# With Muon, a U-Net of 12 channels on STARE is as good after 400 steps as with AdamW after 1500.
# `wide` and `random` are not measured.
RATES: Mapping[str, Rates] = {
    "muon": Rates(unet=2e-2, wide=1e-2, pretrained=5e-3, random=5e-3),
    "adamw": Rates(unet=5e-3, wide=2e-3, pretrained=2e-3, random=1e-3),
}
WIDE = 32
CROP_STEP = 32
ENOUGH_STEPS = 1200  # for a larger model
GROWTH = 2  # the least factor between the times of two models of `LADDER`
MIN_STEPS, MAX_STEPS = 50, 20_000
EVALUATIONS = 8  # fewer if they would take more than EVALUATION_SHARE of the time
EVALUATION_SHARE = 0.2
# The part of the time that steps may take: reading, checkpoints and the report take the rest. On
# two cores, steps of a run took 1 to 1.15 times as long as those that were timed.
SPARE = 0.87
# A run compiles its own training step and an evaluation: so many times the compilation of the step
# that was timed.
COMPILATIONS = 1.5


@dataclass(frozen=True)
class Limits:
    """Limits of a kind of device.

    Attributes:
        crop: Longest side of a crop, in pixels.
        batch: Crops of a batch.
        first: The model of `LADDER` that is timed first.
    """

    crop: int
    batch: int
    first: int


# A CPU times the smallest first: to compile a larger one takes a good part of a few minutes.
CPU, ACCELERATOR = Limits(128, 8, 0), Limits(512, 16, 2)


def device_limits() -> Limits:
    """Return the limits of the devices of this machine."""
    return CPU if jax.default_backend() == "cpu" else ACCELERATOR


def choose_crop(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose a crop that fits into nine of ten images, within the limit of the device."""
    low = np.sort(dataset.sizes, axis=0)[len(dataset.sizes) // 10]
    sides = np.maximum(low // CROP_STEP, 1) * CROP_STEP
    crop = tuple(int(side) for side in np.minimum(sides, device_limits().crop))
    reason = f"nine of ten images have {low[1]}x{low[0]} pixels or more (width x height)"
    yield Choice({"augment.crop": crop}, reason)


def choose_batch(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the number of crops of a batch."""
    devices = jax.device_count()
    batch = math.ceil(device_limits().batch / devices) * devices
    yield Choice({"train.batch_size": batch}, f"{batch // devices} for each of {devices} devices")


def choose_model(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the largest U-Net that can be trained for enough steps, to begin at random."""
    if config.model.init_from or not budget.open >= MODEL_KEYS:
        return
    enough = ENOUGH_STEPS if "train.steps" in budget.open else config.train.steps
    trial = config.copy_and_resolve_references()

    def steps(index: int) -> float:
        trial.update_from_flattened_dict(_unet(LADDER[index]))
        return budget.left / budget.time(trial).step

    chosen, counts = device_limits().first, {}
    counts[chosen] = steps(chosen)
    if counts[chosen] < enough:
        while chosen and counts[chosen] < enough:
            chosen -= 1
            counts[chosen] = steps(chosen)
    else:
        # A larger one takes at least twice the time; it is timed only if that would do.
        while chosen + 1 < len(LADDER) and counts[chosen] >= GROWTH * enough:
            counts[chosen + 1] = steps(chosen + 1)
            if counts[chosen + 1] < enough:
                break
            chosen += 1
    reason = f"about {counts[chosen]:.0f} steps in this time"
    if chosen + 1 in counts:
        reason += f", and {counts[chosen + 1]:.0f} of the next larger U-Net"
    yield Choice(_unet(LADDER[chosen]), reason)


def _unet(widths: tuple[int, ...]) -> dict[str, Any]:
    model = {"encoder": "vanilla", "decoder": "unet", "widths": widths, "upsample": "transposed"}
    return {f"model.{key}": value for key, value in model.items()}


def choose_optimizer(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the optimizer, unless a learning rate is given: it may not suit another one."""
    if "optim.lr" in budget.open:
        yield Choice({"optim.name": "muon"}, "needs about a third of the steps of AdamW")


def choose_rate(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the learning rate, if the optimizer is one of `RATES`."""
    name, widths = config.optim.name, config.model.widths
    rates = RATES.get(name)
    if rates is None:
        return
    if config.model.init_from:
        yield Choice({"optim.lr": rates.pretrained}, f"for pretrained weights and {name}")
    elif config.model.encoder == "vanilla" and widths:
        rate = rates.unet if widths[0] < WIDE else rates.wide
        yield Choice({"optim.lr": rate}, f"for {name} and {widths[0]} channels at full resolution")
    else:
        reason = f"for {name} and {config.model.encoder} with random weights"
        yield Choice({"optim.lr": rates.random}, reason)


def choose_steps(config: ConfigDict, dataset: Fingerprint, budget: Budget) -> Iterator[Choice]:
    """Choose the number of steps for the time, and what is in proportion to it.

    Raises:
        UserError: A step needs more memory than the devices have.
    """
    steps, evaluations = config.train.steps, EVALUATIONS
    if "train.steps" in budget.open:
        timed = budget.time(config)
        if math.isinf(timed.step):
            crop = "x".join(map(str, config.augment.crop))
            raise UserError(
                f"config.train.batch_size: a step with {config.train.batch_size} crops of {crop} "
                "needs more memory than the devices have; give a smaller one, or a smaller "
                "config.augment.crop"
            )
        seconds = SPARE * budget.left - COMPILATIONS * timed.compilation
        evaluation = _evaluation_seconds(config, dataset, timed.step)
        if evaluations * evaluation > EVALUATION_SHARE * seconds:
            evaluations = max(int(EVALUATION_SHARE * seconds / evaluation), 1)
        seconds -= evaluations * evaluation
        steps = int(min(max(seconds / timed.step, MIN_STEPS), MAX_STEPS))
        reason = f"{config.plan.minutes:g} minutes at {1000 * timed.step:.3g} ms a step"
        if steps * timed.step > seconds:
            reason += f"; fewer than {MIN_STEPS} would not train, so that it takes longer"
        yield Choice({"train.steps": steps}, reason)
    every = max(steps // evaluations, 1)
    reason = f"{evaluations} evaluations" if evaluations > 1 else "one evaluation, at the end"
    yield Choice({"eval.every": every, "train.save_every": every}, reason)
    values = {
        "optim.warmup_steps": min(steps // 20, 200),
        "optim.ema_decay": round(1 - 10 / max(steps, 100), 4),
    }
    yield Choice(values, f"a twentieth and about a tenth of {steps} steps")


def _evaluation_seconds(config: ConfigDict, dataset: Fingerprint, step: float) -> float:
    """Estimate the time of an evaluation: a third of that of a training step for each pixel."""
    trained = math.prod(config.augment.crop) * config.train.batch_size
    pixels = float(dataset.sizes.prod(1).mean()) * dataset.held_out
    return pixels / trained * step / 3
