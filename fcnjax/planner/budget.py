"""The time of a training, and the keys that may be chosen for it."""

import time
from dataclasses import dataclass, field

from ml_collections import ConfigDict

from fcnjax.planner.timing import StepTime, time_step


@dataclass
class Budget:
    """The keys to choose, and the time that is left for a training.

    Attributes:
        seconds: Seconds from `started` to the end of the training.
        open: The keys to choose.
        started: `time.monotonic()` at the start.
        times: Times of steps, by the parts of a config that a program depends on.
    """

    seconds: float
    open: frozenset[str]
    started: float = field(default_factory=time.monotonic)
    times: dict[str, StepTime] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.started)

    def time(self, config: ConfigDict) -> StepTime:
        """Return the time of a training step, measured once."""
        parts = [config[name].to_dict() for name in ("model", "augment", "loss", "mesh")]
        key = repr((parts, config.train.batch_size, config.data.channels))
        if key not in self.times:
            self.times[key] = time_step(config)
        return self.times[key]
