"""Counters of the server, for Prometheus."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The counters of one server.

    Attributes:
        waiting: Images in the queue.
        held: Bytes that requests hold, of `Options.max_total_bytes`.
        programs: Number of compiled programs that are kept.
        ready: 1 if the server takes requests, else 0.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def add(
            kind: type, name: str, text: str, labels: Sequence[str] = (), **options: Any
        ) -> Any:
            return kind(f"fcnjax_{name}", text, labels, registry=self._registry, **options)

        duration = "From the head of a request to the end of its answer"
        sizes = (1, 2, 4, 8, 16, 32, 64)
        self._requests = add(Counter, "requests", "Requests answered", ["route", "status"])
        self._seconds = add(Histogram, "request_seconds", duration, ["route"], buckets=SECONDS)
        self._batches = add(Histogram, "batch_images", "Images of a batch", buckets=sizes)
        self._device = add(Counter, "device_seconds", "Spent in the device's batches")
        self.waiting = add(Gauge, "waiting_images", "Images in the queue")
        self.held = add(Gauge, "held_bytes", "Bytes that requests hold")
        self.programs = add(Gauge, "programs", "Compiled programs kept")
        self.ready = add(Gauge, "ready", "1: warm, and not stopping")

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            route: Pattern of the path, never the client's text, since labels are kept forever.
            status: Status of the response.
            seconds: Its duration.
        """
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    @contextlib.contextmanager
    def batch(self, images: int) -> Iterator[None]:
        """Count a batch, and the time spent in the block."""
        self._batches.observe(images)
        start = time.perf_counter()
        try:
            yield
        finally:
            self._device.inc(time.perf_counter() - start)

    def text(self) -> bytes:
        """Return all counters in Prometheus's text format (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)
