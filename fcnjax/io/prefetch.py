"""Reading ahead: the next items are prepared while the current one is in use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def look_ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items in order, each once `count` later ones have been drawn."""
    queue: deque[T] = deque()
    for item in items:
        queue.append(item)
        if len(queue) > count:
            yield queue.popleft()
    while queue:
        yield queue.popleft()


def prefetch(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, ahead: int
) -> Iterator[R]:
    """Yield `function(item)` for each item in order, computed in threads before it is needed.

    The caller's thread draws the items. It serves for writing behind as well: with one thread the
    calls run one after the other, and at most `ahead` of them are pending.

    Args:
        function: Called in a thread. An exception is raised where its result would be yielded.
        items: The arguments.
        threads: Number of threads.
        ahead: Number of later items that are drawn and submitted before a result is yielded.
    """
    with ThreadPoolExecutor(threads) as pool:
        jobs = (pool.submit(function, item) for item in items)
        for job in look_ahead(jobs, ahead):
            yield job.result()
