"""Batch norms that stay in inference mode while the rest of a model is trained."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

_which = contextvars.ContextVar("frozen_norms", default=None)


@contextlib.contextmanager
def batch_norm_inference(which: Callable[[str], bool] | None) -> Iterator[None]:
    """Within it, a model applied with `train=True` leaves some batch norms in inference mode.

    They normalise by their running statistics, and do not update them.

    Args:
        which: Says so of the path of a norm, as `encoder/layer1_0/conv1/norm`; None: of none.
    """
    token = _which.set(which)
    try:
        yield
    finally:
        _which.reset(token)


def is_at_rest(path: Sequence[str]) -> bool:
    """Whether the batch norm of that path stays in inference mode."""
    which = _which.get()
    return which is not None and which("/".join(path))
