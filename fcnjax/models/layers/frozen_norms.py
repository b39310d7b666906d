"""Batch norms that stay in inference mode while the rest of a model is trained."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence

_is_frozen = contextvars.ContextVar("frozen_norms", default=None)


@contextlib.contextmanager
def batch_norm_inference(is_frozen: Callable[[str], bool] | None) -> Iterator[None]:
    """Leave some batch norms in inference mode in models applied with `train=True`.

    They normalise by their running statistics, and do not update them.

    Args:
        is_frozen: Selects norms by path, such as `encoder/layer1_0/conv1/norm`; None selects none.
    """
    token = _is_frozen.set(is_frozen)
    try:
        yield
    finally:
        _is_frozen.reset(token)


def is_norm_frozen(path: Sequence[str]) -> bool:
    """Return whether the batch norm at `path` stays in inference mode."""
    is_frozen = _is_frozen.get()
    return is_frozen is not None and is_frozen("/".join(path))
